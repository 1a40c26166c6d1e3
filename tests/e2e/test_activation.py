"""A service that is started by whoever connects to its sockets, which systemd holds."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from boardd.commands.control import fetch_status
from boardd_client import SummaryWriter
from boardd_protos.address import UnixAddress, default_address
from boardd_protos.socket_owner import socket_owner
from support.commands import assert_refused, boardd
from support.daemon_process import DaemonProcess
from support.service_manager import ServiceManager
from support.tensorboard_reader import read_run
from support.waiting import wait_until


def test_a_client_starts_the_service_each_time_that_it_has_left(
    runtime_directory: Path, tmp_path: Path
) -> None:
    path = default_address().path
    with ServiceManager(path) as manager:
        writer = SummaryWriter(str(tmp_path / "logs" / "run"))
        writer.add_scalar("loss", 0, 0)
        manager.wait_for_client()
        assert socket_owner(path) is None, "no client starts a daemon where systemd listens"
        with DaemonProcess(tmp_path, socket=path, popen=manager.popen) as first:
            assert writer.flush(timeout=60)
            (session,) = first.status().sessions
            assert session.map_bytes, "over the socket that was passed"
            first.kill()  # systemd starts it anew
        with DaemonProcess(tmp_path, socket=path, popen=manager.popen) as second:
            writer.add_scalar("loss", 1, 1)
            assert writer.flush(timeout=60)
            assert second.terminate() == 0
        writer.add_scalar("loss", 2, 2)
        manager.wait_for_client()
        with DaemonProcess(tmp_path, socket=path, popen=manager.popen) as third:
            assert writer.close(timeout=60)
            assert boardd("stop").returncode == 0
            assert third.wait() == 0
            assert not manager.has_client(), "a daemon that leaves starts no other"
        assert_refused(boardd("stop"), 3, f"no daemon at {UnixAddress(path)}; a service manager")
        assert not manager.has_client(), "who stops the service does not start it"
        assert path.exists()
        assert not list(path.parent.glob(".*")), "its socket has one name again"
    points = read_run(tmp_path / "logs" / "run").scalars["loss"]
    assert [point.step for point in points] == [0, 1, 2]


def test_a_service_takes_its_sockets_from_what_a_client_has_started(
    runtime_directory: Path, tmp_path: Path
) -> None:
    path = default_address().path
    writer = SummaryWriter(str(tmp_path / "logs" / "run"))
    writer.add_scalar("loss", 0, 0)
    assert writer.flush(timeout=60)
    owner = socket_owner(path)
    assert owner is not None
    assert owner.is_autostarted
    with (
        ServiceManager(path) as manager,
        DaemonProcess(tmp_path, socket=path, popen=manager.popen) as service,
    ):
        writer.add_scalar("loss", 1, 1)
        assert writer.close(timeout=60)
        wait_until(lambda: not os.path.exists(f"/proc/{owner.pid}"), "the other one has left")
        assert service.terminate() == 0
        assert path.exists()
    points = read_run(tmp_path / "logs" / "run").scalars["loss"]
    assert [point.step for point in points] == [0, 1]


@pytest.mark.usefixtures("runtime_directory")
def test_who_asks_for_the_status_starts_the_service_and_waits_for_it(tmp_path: Path) -> None:
    where = UnixAddress(default_address().path)
    with ServiceManager(where.path) as manager, ThreadPoolExecutor(1) as pool:
        status = pool.submit(fetch_status, where, timeout_secs=60)
        manager.wait_for_client()
        with DaemonProcess(tmp_path, socket=where.path, popen=manager.popen) as service:
            assert status.result(timeout=60).pid == service.pid


@pytest.mark.usefixtures("runtime_directory")
def test_sockets_of_another_place_are_refused(tmp_path: Path) -> None:
    path = default_address().path
    other = path.with_name("other")
    with (
        ServiceManager(path) as manager,
        DaemonProcess(tmp_path, socket=other, popen=manager.popen, wait=False) as process,
    ):
        assert process.wait() == 2
        assert f"ListenStream={other}" in process.log
