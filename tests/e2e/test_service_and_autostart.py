"""An installed service and daemons that clients start at its socket never fight for it."""

from __future__ import annotations

from pathlib import Path

import pytest
from boardd_client import SummaryWriter
from boardd_protos.socket_owner import socket_owner
from support.commands import assert_refused, boardd
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import read_run
from support.waiting import wait_until

STEPS = 200


def test_a_service_that_was_killed_comes_back_in_place_of_what_a_client_started(
    runtime_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = runtime_directory / "boardd" / "s"
    socket.parent.mkdir(0o700)
    monkeypatch.chdir(tmp_path)
    with DaemonProcess(tmp_path, socket=socket) as service:
        with pytest.raises(ValueError, match=f"writes only below {service.logdir};"):
            SummaryWriter("mnist", address=service.address)
        with service.stop_cont(), pytest.raises(ValueError, match="writes only below"):
            SummaryWriter("mnist", address=service.address)
        sw = SummaryWriter("logs/run", address=service.address)
        sw.add_scalar("loss", 0, 0)
        assert sw.flush(timeout=60)
        service.kill()
    sw.add_scalar("loss", 1, 1)
    assert sw.flush(timeout=120)
    owner = socket_owner(socket)
    assert owner is not None
    assert owner.is_autostarted
    SummaryWriter("mnist", address=service.address)
    plain = boardd("--socket", str(socket))  # it would write below its own directory only
    assert_refused(plain, 4, "take its place with --logdir-root")
    with DaemonProcess(tmp_path, socket=socket, wait=False) as service:
        for step in range(2, STEPS):
            sw.add_scalar("loss", step, step)
        wait_until(lambda: getattr(socket_owner(socket), "pid", 0) == service.pid, "it is back")
        service.wait_ready()
        sw.add_scalar("loss", STEPS, STEPS)
        assert sw.close(timeout=120)
    points = read_run(tmp_path / "logs" / "run").scalars["loss"]
    assert [point.step for point in points] == list(range(STEPS + 1))
