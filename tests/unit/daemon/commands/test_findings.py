"""What the doctor makes of numbers and states, and how it tells it."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest
from boardd.commands.findings import (
    Finding,
    Grade,
    exit_code,
    fail,
    ok,
    render,
    to_json,
    warn,
)
from boardd.commands.host_checks import (
    check_disks,
    check_shared_memory,
    descriptor_finding,
    disk_finding,
    log_finding,
    memory_finding,
)
from boardd.commands.socket_checks import check_socket, holder_finding
from boardd.commands.version_checks import check_status
from boardd.errors import ExitCode
from boardd_protos import __version__
from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import UnixAddress, default_address
from boardd_protos.socket_owner import SocketOwner

GIB = 1 << 30


def test_findings_in_text_and_json() -> None:
    findings = [ok("a", "well"), warn("longer", "so so", "rest"), fail("b", "a\nb", "mend it")]
    assert render(findings).splitlines() == [
        "ok    a       well",
        "warn  longer  so so",
        "              -> rest",
        "fail  b       a\\nb",
        "              -> mend it",
        "",
        "1 ok, 1 warn, 1 fail",
    ]
    told = json.loads(to_json(findings))
    assert told["ok"] is False
    assert told["findings"][1] == {
        "grade": "warn",
        "subject": "longer",
        "text": "so so",
        "cure": "rest",
    }
    assert json.loads(to_json(findings[:2]))["ok"] is True


def test_only_what_failed_fails_a_script() -> None:
    assert exit_code([]) is exit_code([ok("a", ""), warn("b", "", "")]) is ExitCode.OK
    assert exit_code([ok("a", ""), fail("b", "", "")]) is ExitCode.FAILED


@pytest.mark.parametrize(
    ("finding", "grade"),
    [
        (disk_finding("/d", 5 * GIB, 7), Grade.OK),
        (disk_finding("/d", 5 * GIB, -1), Grade.OK),
        (disk_finding("/d", GIB // 2, 7), Grade.WARN),
        (disk_finding("/d", 1 << 20, 7), Grade.FAIL),
        (disk_finding("/d", 5 * GIB, 0), Grade.FAIL),
        (log_finding(Path("/dev/shm"), GIB), Grade.OK),
        (log_finding(Path("/dev/shm"), 1 << 20), Grade.WARN),
        (descriptor_finding(10, 20_000), Grade.OK),
        (descriptor_finding(10, -1), Grade.OK),
        (descriptor_finding(17_000, 20_000), Grade.WARN),
        (descriptor_finding(10, 1024), Grade.WARN),
        (memory_finding(4 * GIB, None, 0), Grade.OK),
        (memory_finding(4 * GIB, 2 * GIB, GIB // 2), Grade.OK),
        (memory_finding(4 * GIB, GIB // 2, GIB // 2), Grade.WARN),
        (memory_finding(GIB // 4, None, 0), Grade.WARN),
        (holder_finding(None, is_served=False, environ={}), Grade.OK),
        (holder_finding(None, is_served=False, environ={"BOARDD_AUTOSTART": "0"}), Grade.WARN),
        (holder_finding(None, is_served=True, environ={}), Grade.OK),
        (holder_finding(SocketOwner(7), is_served=True, environ={}), Grade.OK),
        (holder_finding(SocketOwner(7), is_served=False, environ={}), Grade.FAIL),
    ],
)
def test_a_state_has_its_grade(finding: Finding, grade: Grade) -> None:
    assert finding.grade is grade
    assert bool(finding.cure) is (grade is not Grade.OK)


def grades(reply: pb.StatusReply, now: float = 1000.0) -> dict[str, Grade]:
    """The worst grade of each subject."""
    worst: dict[str, Grade] = {}
    order = list(Grade)
    for one in check_status(reply, now):
        worst[one.subject] = max(worst.get(one.subject, Grade.OK), one.grade, key=order.index)
    return worst


def test_what_a_daemon_tells_of_itself() -> None:
    well = pb.StatusReply(version=__version__, answered_at=1001, intake_budget_bytes=100)
    assert grades(well) == {"daemon": Grade.OK, "clock": Grade.OK}
    ill = pb.StatusReply(
        version="0.0.1",
        answered_at=1010,
        intake_bytes=95,
        intake_budget_bytes=100,
        runs=[pb.RunStatus(path="/r", trouble="no space")],
    )
    assert grades(ill) == {
        "daemon": Grade.OK,
        "versions": Grade.WARN,
        "clock": Grade.WARN,
        "records": Grade.WARN,
        "run": Grade.FAIL,
    }
    assert grades(pb.StatusReply(version=__version__, answered_at=990))["clock"] is Grade.WARN
    # One of an earlier version does not tell its clock.
    assert "clock" not in grades(pb.StatusReply(version=__version__))
    lost = pb.Counters(
        rejected=[pb.RejectCount(reason=pb.INVALID_TENSOR, records=3)],
        dropped_by_client=[pb.DropCount(reason="log_full", records=2)],
    )
    told = list(check_status(pb.StatusReply(version=__version__, counters=lost), 0.0))
    assert ["2 dropped" in one.text for one in told].count(True) == 1
    assert ["3 rejected" in one.text for one in told].count(True) == 1


def found(where: UnixAddress, **environ: str) -> dict[str, Grade]:
    return {one.subject: one.grade for one in check_socket(where, environ)}


def test_sockets_of_real_directories(runtime_directory: Path) -> None:
    where = default_address()
    assert found(where) == {"socket directory": Grade.OK, "daemon": Grade.OK}
    where.path.parent.mkdir(mode=0o755)
    assert found(where)["socket directory"] is Grade.FAIL
    where.path.parent.chmod(0o700)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(where.path))
        listener.listen()
        assert found(where) == {"socket": Grade.OK, "lock": Grade.OK}
    assert "XDG_RUNTIME_DIR" in found(default_address(), XDG_RUNTIME_DIR="/nonexistent")


def test_disks_that_are_there_and_not(tmp_path: Path) -> None:
    told = list(check_disks([str(tmp_path), str(tmp_path), str(tmp_path / "gone")]))
    assert len(told) == 2
    assert told[1].grade is Grade.FAIL
    assert "No such file" in told[1].text


def test_shared_memory_of_this_machine(runtime_directory: Path) -> None:
    subjects = [one.subject for one in check_shared_memory(default_address().path)]
    assert subjects == ["shared memory", "logs"]
