"""A run that the daemon of this host does not write is refused when its writer is made."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from boardd_client import SummaryWriter
from boardd_client.transport import roots
from boardd_protos.address import UnixAddress
from boardd_protos.socket_owner import SocketOwner, lock_path


@pytest.fixture
def address(runtime_directory: Path, tmp_path: Path) -> Iterator[UnixAddress]:
    """That of a daemon that writes in ``tmp_path / "runs"`` and answers nobody."""
    address = UnixAddress(runtime_directory / "s")
    (tmp_path / "runs").mkdir()
    with open(lock_path(address.path), "wb") as file:
        roots = (os.fspath(tmp_path / "runs"), "/srv/runs")
        owner = SocketOwner(1, roots=roots, left_alone=(f"{roots[0]}/.ssh", "/srv"))
        file.write(owner.encode())
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        yield address


def test_the_error_names_the_roots_and_a_logdir_that_works(
    address: UnixAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="writes only below") as raised:
        SummaryWriter("logs/mnist", address=str(address))
    text = str(raised.value)
    assert f"'logs/mnist' is {tmp_path}/logs/mnist, and the daemon at {address}" in text
    assert f"{tmp_path}/runs and /srv/runs" in text
    assert "BOARDD_LOGDIR_ROOT" in text
    assert f"for instance {tmp_path}/runs/logs/mnist," in text
    SummaryWriter(tmp_path / "runs" / "logs" / "mnist", address=str(address))
    with pytest.raises(ValueError, match=f"for instance {tmp_path}/runs/mnist,"):
        SummaryWriter(tmp_path / "elsewhere" / "mnist", address=str(address))


def test_what_lies_below_a_root_is_taken_also_by_another_name(
    address: UnixAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to("runs")
    for logdir in ("runs", "runs/deep/er", "link/x", "/srv/runs/x"):
        roots.check_roots(address, logdir, os.path.join(tmp_path, logdir))
    with pytest.raises(ValueError, match="writes only below"):
        roots.check_roots(address, "runs-of-others", f"{tmp_path}/runs-of-others")


def test_what_the_daemon_leaves_alone_is_refused_as_well(
    address: UnixAddress, tmp_path: Path
) -> None:
    keys = tmp_path / "runs" / ".ssh"
    with pytest.raises(ValueError, match=f"leaves that directory alone; .* to {keys}/run and"):
        SummaryWriter(keys / "run", address=str(address))
    (tmp_path / "link").symlink_to(keys)
    with pytest.raises(ValueError, match="leaves that directory alone"):
        SummaryWriter(tmp_path / "link", address=str(address))
    SummaryWriter(tmp_path / "runs" / ".ssh2", address=str(address))
    SummaryWriter("/srv/runs/x", address=str(address))


@pytest.mark.parametrize("logdir", ["../mnist", "x/../../mnist", "./mnist"])
def test_the_logdir_that_is_advised_lies_below_the_root(
    logdir: str, address: UnixAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    with pytest.raises(ValueError, match=f"for instance {tmp_path}/runs/mnist,"):
        SummaryWriter(logdir, address=str(address))


def test_without_a_thread_to_spare_where_a_path_leads_is_not_known(
    address: UnixAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    roots.check_roots(address, "x", "/x")


def test_a_disk_that_hangs_and_a_daemon_that_is_not_there_refuse_nothing(
    address: UnixAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots.check_roots(UnixAddress(address.path.with_name("other")), "x", "/x")
    answers = threading.Event()
    monkeypatch.setattr(os.path, "realpath", lambda path: answers.wait(60) and path)
    try:
        roots.check_roots(address, "x", "/x")
        assert not answers.is_set()
    finally:
        answers.set()
