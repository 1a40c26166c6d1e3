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
        file.write(SocketOwner(1, roots=(os.fspath(tmp_path / "runs"), "/srv/runs")).encode())
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
