"""What the doctor makes of numbers and states, and how it tells it."""

from __future__ import annotations

import fcntl
import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
from boardd.commands.answer_checks import answer_finding
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
    sees_files_alike,
)
from boardd.commands.record_checks import DROP_CURES, REASON_CURES, check_records
from boardd.commands.socket_checks import check_socket, holder_finding
from boardd.commands.version_checks import check_status
from boardd.errors import (
    CommandError,
    ConfigError,
    ExitCode,
    NoDaemonError,
    NotBoarddError,
    RefusedError,
    SilentDaemonError,
    UnauthenticatedError,
    UntrustedError,
)
from boardd.settings.config import OPTIONS
from boardd_client.memory.drop_reason import DropReason
from boardd_protos import __version__
from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import TcpAddress, UnixAddress, default_address
from boardd_protos.socket_owner import SocketOwner, lock_path
from support.waiting import wait_until

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
        (holder_finding(None, None, is_served=False, environ={}), Grade.OK),
        (
            holder_finding(None, None, is_served=False, environ={"BOARDD_AUTOSTART": "0"}),
            Grade.WARN,
        ),
        (holder_finding(None, None, is_served=True, environ={}), Grade.OK),
        (holder_finding(SocketOwner(7), 7, is_served=True, environ={}), Grade.OK),
        (holder_finding(SocketOwner(7), None, is_served=True, environ={}), Grade.OK),
        (holder_finding(SocketOwner(7), 7, is_served=False, environ={}), Grade.FAIL),
        (holder_finding(SocketOwner(7), None, is_served=False, environ={}), Grade.FAIL),
    ],
)
def test_a_state_has_its_grade(finding: Finding, grade: Grade) -> None:
    assert finding.grade is grade
    assert bool(finding.cure) is (grade is not Grade.OK)


def test_of_a_daemon_that_says_its_pid_alone_no_more_is_told() -> None:
    told = holder_finding(SocketOwner.decode(b"7\n"), 7, is_served=True, environ={})
    assert told.text == "held by pid 7"
    told = holder_finding(SocketOwner(7, roots=("/",)), 7, is_served=True, environ={})
    assert told.text == "held by pid 7: it was started by hand or service"


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


def test_clients_of_another_minor_version_are_told_of() -> None:
    def told(*clients: str, daemon: str = "1.10.0") -> list[str]:
        sessions = [
            pb.SessionStatus(program="train.py", pid=7, hostname="vm", client_version=client)
            for client in clients
        ]
        found = check_status(pb.StatusReply(version=daemon, sessions=sessions), 0.0)
        return [f"{one.text}; {one.cure}" for one in found if "train.py" in one.text]

    assert told("1.10.0", "1.10.9", "1.10.0.dev1", "", "unknown", "9" * 99 + ".0") == []
    (older,) = told("1.9.4", "1.10.0", "1.9.4", "1.9.4")
    assert older.startswith("train.py (pid 7 at vm) and 2 more: boardd 1.9.4, older than")
    assert "pip install 'boardd==1.10.*'" in older
    (newer,) = told("2.0.0")
    assert "newer than the daemon's 1.10.0" in newer
    assert "upgrade the daemon" in newer
    assert told("1.9.0", daemon="") == []


def test_each_reason_of_a_drop_has_its_cure() -> None:
    assert set(DROP_CURES) == {reason.value for reason in DropReason}
    assert len(set(DROP_CURES.values())) == len(DROP_CURES)
    for reason in DropReason:
        named = set(re.findall(r"BOARDD_\w+", reason.text))
        assert named <= set(re.findall(r"BOARDD_\w+", DROP_CURES[reason.value])), reason
    drops = [pb.DropCount(reason=name, records=1) for name in ("closed", "of_a_newer_client")]
    reply = pb.StatusReply(counters=pb.Counters(dropped_by_client=drops))
    assert [one.cure for one in check_records(reply)] == [
        DROP_CURES["closed"],
        "the training's stderr and the daemon's log say which",
    ]


def test_what_is_refused_has_the_cure_of_its_reason() -> None:
    known = {option.flag for option in OPTIONS}
    for cure in REASON_CURES.values():
        assert set(re.findall(r"--[\w-]+", cure)) <= known
    counters = pb.Counters(rejected=[pb.RejectCount(reason=pb.TENSOR_TOO_LARGE, records=3)])
    refused = [
        pb.RefusedRun(path="/r", reason=pb.TOO_MANY_RUNS),
        pb.RefusedRun(reason=pb.ELSEWHERE),
    ]
    reply = pb.StatusReply(counters=counters, refused_runs=refused)
    assert [one.cure for one in check_records(reply)] == [
        f"{REASON_CURES[pb.TOO_MANY_RUNS]}; then make a new writer",
        "see to it; then make a new writer",
        REASON_CURES[pb.TENSOR_TOO_LARGE],
    ]


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (UnauthenticatedError("no token"), "give its token with --token-file"),
        (RefusedError("full"), "look again when it is less busy"),
        (ConfigError("no such file"), "correct it"),
        (UntrustedError("expired"), "correct the certificates"),
        (NotBoarddError("ssh"), "ask another with --address"),
        (SilentDaemonError("5 s"), "longer --timeout; if it stays silent, look at it where it"),
        (NoDaemonError("none"), "start it, or ask another"),
    ],
)
def test_what_is_done_about_a_daemon_follows_from_the_error(
    error: CommandError, cure: str, runtime_directory: Path
) -> None:
    for where in (default_address(), TcpAddress("localhost", 1)):
        told = answer_finding(error, where)
        assert (told.grade, told.text) == (Grade.FAIL, str(error))
        assert cure in told.cure
        assert "kill" not in told.cure


def test_a_daemon_that_is_slow_is_not_to_be_ended_at_once(runtime_directory: Path) -> None:
    where = default_address()
    where.path.parent.mkdir(mode=0o700)
    with open(lock_path(where.path), "w+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.write(SocketOwner(os.getpid()).encode())
        lock.flush()
        cure = answer_finding(SilentDaemonError("5 s"), where).cure
        assert cure.startswith("wait, and look again with a longer --timeout")
        assert cure.endswith(f"end it with: kill {os.getpid()}")
        # What it says of its pid may be true in another container only.
        lock.seek(0)
        lock.write(SocketOwner(1).encode())
        lock.flush()
        assert "kill" not in answer_finding(SilentDaemonError("5 s"), where).cure
        told = list(check_socket(where, {}))[-1]
        assert (told.subject, told.grade) == ("lock", Grade.FAIL)
        assert "pid" not in told.text
        assert "kill" not in told.cure


def found(where: UnixAddress, **environ: str) -> dict[str, Grade]:
    """What is found of a socket by subject."""
    return {one.subject: one.grade for one in check_socket(where, environ)}


def test_sockets_of_real_directories(runtime_directory: Path) -> None:
    where = default_address()
    assert found(where) == {"socket directory": Grade.OK, "daemon": Grade.OK}
    told = list(check_socket(where, {}, can_start=False))
    assert [one.subject for one in told] == ["socket directory"], "no daemon would start"
    where.path.parent.mkdir(mode=0o755)
    assert found(where) == {"socket directory": Grade.FAIL}
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
    # The daemon may find there what this user does not.
    told = list(check_disks([str(tmp_path), str(tmp_path / "gone")], is_alike=False))
    assert [one.grade for one in told] == [Grade.OK, Grade.WARN]
    assert "run boardd doctor there" in told[1].cure


def test_who_sees_files_as_this_process_does() -> None:
    assert sees_files_alike(os.getpid())
    assert not sees_files_alike(1 << 30)
    if os.geteuid() == 0:
        child = subprocess.Popen(["sleep", "600"], user=65534)
    else:
        child = subprocess.Popen(["unshare", "--user", "--mount", "sleep", "600"])
    try:
        # Between the fork and the other program it is as its parent.
        wait_until(lambda: not sees_files_alike(child.pid), "the child is elsewhere")
    finally:
        child.kill()
        child.wait()


def test_shared_memory_of_this_machine(runtime_directory: Path) -> None:
    subjects = [one.subject for one in check_shared_memory(default_address().path)]
    assert subjects == ["shared memory", "logs"]


def test_a_store_that_takes_nothing_fails() -> None:
    store = pb.StoreStatus(url="s3://b", pending_files=2, pending_bytes=30)
    reply = pb.StatusReply(version=__version__, stores=[store])
    assert {one.grade for one in check_status(reply, 0.0)} == {Grade.OK}
    reply.stores[0].last_error = "denied"
    (failed,) = (one for one in check_status(reply, 0.0) if one.grade is not Grade.OK)
    assert failed.grade is Grade.FAIL
    assert failed.text == "s3://b has not taken 2 files: denied"
