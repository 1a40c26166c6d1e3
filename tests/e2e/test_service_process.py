"""The real daemon process: how it starts, whom it serves, how it leaves."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from boardd_protos import REVISION, __version__
from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import default_address
from boardd_protos.boardd_pb2_grpc import BoarddStub
from boardd_protos.socket_owner import SocketOwner, lock_path, socket_owner
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest
from grpc_reflection.v1alpha.reflection_pb2_grpc import ServerReflectionStub
from support.commands import assert_refused, boardd
from support.daemon_process import DaemonProcess
from support.plain_session import Session
from support.tensorboard_reader import read_scalars
from support.waiting import DEADLINE_SECS, wait_until

# Starting


def test_a_started_daemon_says_where_it_is(daemon: DaemonProcess) -> None:
    assert re.search(
        rf"INFO boardd {re.escape(__version__)} started, pid {daemon.pid}: listening on "
        rf"{daemon.address}; writing below {daemon.logdir}",
        daemon.log,
    )
    status = daemon.status()
    assert (status.version, status.pid) == (__version__, daemon.pid)
    assert list(status.addresses) == [daemon.address]
    assert list(status.logdir_roots) == [str(daemon.logdir)]
    assert status.uptime_secs < DEADLINE_SECS
    lock = lock_path(daemon.socket)
    owner = socket_owner(daemon.socket)
    assert owner is not None
    assert owner == SocketOwner(
        daemon.pid,
        roots=(str(daemon.logdir),),
        left_alone=owner.left_alone,
        revision=REVISION,
        remote_roots=(),
        scheme_obstacles=owner.scheme_obstacles,
    )
    assert "s3" not in owner.scheme_obstacles
    assert "/etc" in owner.left_alone
    assert daemon.terminate() == 0
    assert not daemon.socket.exists()
    assert not lock.exists()


def test_socket_and_directory_are_private_under_any_umask(
    runtime_directory: Path, tmp_path: Path
) -> None:
    path = default_address().path
    assert path.parent == runtime_directory / "boardd"
    before = os.umask(0)
    try:
        process = DaemonProcess(tmp_path, socket=path, popen=subprocess.Popen)
    finally:
        os.umask(before)
    with process:
        assert path.parent.stat().st_mode & 0o7777 == 0o700
        assert path.stat().st_mode & 0o077 == 0
        assert Path(f"{path}.lock").stat().st_mode & 0o777 == 0o600
        assert boardd("status").returncode == 0, "no flag is needed for this user's daemon"
        assert process.terminate() == 0
    assert list(path.parent.iterdir()) == []


def test_a_directory_that_others_reach_is_refused_at_start(
    runtime_directory: Path, tmp_path: Path
) -> None:
    directory = runtime_directory / "open"
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    assert_refused(
        boardd("--socket", f"{directory}/s"), 2, f"mode 0755.*such as {directory}/boardd-"
    )
    assert list(directory.iterdir()) == []
    link = runtime_directory / "link"
    link.symlink_to(tmp_path)
    assert_refused(boardd("--socket", f"{link}/s"), 2, "is a symlink or no directory")


@pytest.mark.parametrize("stopped", [False, True])
def test_a_second_daemon_is_refused(stopped: bool, daemon: DaemonProcess, tmp_path: Path) -> None:
    with daemon.stop_cont() if stopped else contextlib.nullcontext():
        result = boardd("--socket", str(daemon.socket), "--logdir-root", str(tmp_path))
    assert_refused(result, 4, rf"another boardd \(pid {daemon.pid}\) has {daemon.socket}")
    assert daemon.health() == HealthCheckResponse.SERVING


def test_a_killed_daemon_is_succeeded(daemon: DaemonProcess, tmp_path: Path) -> None:
    daemon.kill()
    assert daemon.socket.exists()
    assert Path(f"{daemon.socket}.lock").exists()
    assert_refused(boardd("status", "--address", daemon.address), 3, "no daemon at")
    with DaemonProcess(tmp_path, socket=daemon.socket) as successor:
        assert successor.status().pid == successor.pid
        assert successor.terminate() == 0
    assert not daemon.socket.exists()


def test_the_successor_may_start_while_the_first_leaves(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    daemon.signal(signal.SIGTERM)
    wait_until(lambda: not daemon.socket.exists(), "the socket is removed")
    with DaemonProcess(tmp_path, socket=daemon.socket) as successor:
        assert daemon.wait() == 0
        assert successor.status().pid == successor.pid, "the first took its socket along"
        assert successor.terminate() == 0


def test_settings_come_from_a_file_and_the_environment(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    file = tmp_path / "boardd.toml"
    file.write_text('listen = "127.0.0.1:0"\nintake-bytes = "7MiB"\nnice = 3\n')
    flags = ("--config", str(file), "--logdir-root", str(other))
    with DaemonProcess(tmp_path, *flags, environ={"BOARDD_NICE": "12"}) as process:
        status = process.status()
        assert list(status.logdir_roots) == [str(tmp_path / "logs"), str(other)]
        assert status.intake_budget_bytes == 7 << 20
        host, _, port = process.tcp_address.rpartition(":")
        assert (host, port != "0") == ("127.0.0.1", True)
        assert process.tcp_address in process.log
        priorities = {
            os.getpriority(os.PRIO_PROCESS, int(thread))
            for thread in os.listdir(f"/proc/{process.pid}/task")
        }
        assert priorities == {12}


def test_wrong_settings_end_it_with_one_line(tmp_path: Path) -> None:
    file = tmp_path / "boardd.toml"
    file.write_text("sockte = 1")
    assert_refused(boardd("--config", str(file)), 2, f"{file}: unknown setting 'sockte'.*'socket'")
    assert_refused(boardd("--listen", "0.0.0.0:0"), 2, "other hosts could reach.*--token-file")
    assert_refused(boardd(BOARDD_THREADS="many"), 2, "BOARDD_THREADS: 'many': expected a whole")
    assert_refused(boardd("start"), 2, "unknown command 'start'.*status, stop")
    assert_refused(boardd("stop", "--timeout", "x"), 2, "--timeout: 'x': expected seconds")


def test_a_package_that_is_missing_is_named_with_what_installs_it(tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['uvloop'] = None; from boardd.cli import main; "
        "sys.exit(main(['--logdir-root', sys.argv[1]]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=120
    )
    assert_refused(result, 1, "needs uvloop, which is not installed; run: pip install boardd")


def test_help_and_version() -> None:
    for arguments in (["--help"], ["status", "--help"], ["stop", "--help"]):
        result = boardd(*arguments)
        assert (result.returncode, result.stderr) == (0, "")
        assert "exit codes:" in result.stdout
    assert boardd("--version").stdout == f"boardd {__version__}\n"


# Serving


def test_health_and_reflection_answer(daemon: DaemonProcess) -> None:
    assert daemon.health() == HealthCheckResponse.SERVING
    assert daemon.health("boardd.v1.Boardd") == HealthCheckResponse.SERVING
    with daemon.channel() as channel:
        with pytest.raises(grpc.RpcError) as caught:
            HealthStub(channel).Check(HealthCheckRequest(service="nonsense"), timeout=60)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        (answer,) = ServerReflectionStub(channel).ServerReflectionInfo(
            iter([ServerReflectionRequest(list_services="")]), timeout=60
        )
        (described,) = ServerReflectionStub(channel).ServerReflectionInfo(
            iter([ServerReflectionRequest(file_containing_symbol="boardd.v1.Boardd")]), timeout=60
        )
    names = {service.name for service in answer.list_services_response.service}
    assert names == {
        "boardd.v1.Boardd",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert described.file_descriptor_response.file_descriptor_proto


def test_a_message_past_the_cap_is_refused_and_others_go_on(daemon: DaemonProcess) -> None:
    with daemon.channel() as channel:
        stub = BoarddStub(channel)
        with pytest.raises(grpc.RpcError) as caught:
            stub.Open(pb.OpenRequest(session_id=bytes(5 << 20)), timeout=60)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert stub.Status(pb.StatusRequest(), timeout=60).pid == daemon.pid


# Leaving


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_makes_it_write_what_it_has_and_leave(
    number: signal.Signals, daemon: DaemonProcess
) -> None:
    with daemon.channel() as channel:
        session = Session(channel)
        session.define(daemon.logdir)
        session.scalars(5_000)
        wait_until(lambda: daemon.status().counters.accepted > 0, "records are received")
        daemon.signal(number)
        replies = session.replies()
        assert daemon.wait() == 0
        session.hang_up()
    assert any(reply.HasField("draining") for reply in replies)
    acknowledged = max(reply.acknowledged.written_sequence for reply in replies)
    assert acknowledged == 5_000
    points = read_scalars(daemon.logdir)["."]["loss"]
    assert [point.step for point in points] == list(range(1, acknowledged + 1))
    assert f"{number.name} received: leaving" in daemon.log


def test_under_nohup_it_outlives_a_hangup(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does, for what it starts
    try:
        process = DaemonProcess(tmp_path, popen=subprocess.Popen)
    finally:
        signal.signal(signal.SIGHUP, before)
    with process:
        process.signal(signal.SIGHUP)
        assert process.terminate() == 0
        assert "SIGTERM received: leaving" in process.log
        assert "SIGHUP" not in process.log


@contextlib.contextmanager
def client_that_does_not_read(daemon: DaemonProcess) -> Iterator[None]:
    """A stream on which the daemon has more to tell than the client lets through."""
    # A window that does not grow, so that little is needed to fill it.
    with daemon.channel(("grpc.http2.bdp_probe", 0)) as channel:
        session = Session(channel)
        outside = "/outside" + f"/{'x' * 200}" * 10
        session.send(
            definitions=pb.Definitions(
                runs=[pb.RunDefinition(run=n, logdir=f"{outside}/{n}") for n in range(2, 1002)]
            )
        )
        session.define(daemon.logdir)
        session.scalars(1)
        wait_until(lambda: daemon.status().counters.written == 1, "the record is written")
        yield
        session.hang_up()


def test_it_leaves_by_its_deadline_whatever_clients_do(tmp_path: Path) -> None:
    with (
        DaemonProcess(tmp_path, "--drain-secs", "1.5") as process,
        client_that_does_not_read(process),
    ):
        before = time.monotonic()
        assert process.terminate() == 0
        assert 1 < time.monotonic() - before < 30


def test_while_it_drains_it_is_not_healthy_and_a_second_signal_ends_it(tmp_path: Path) -> None:
    with (
        DaemonProcess(tmp_path, "--drain-secs", "300") as process,
        client_that_does_not_read(process),
    ):
        process.signal(signal.SIGTERM)
        process.wait_log("SIGTERM received: leaving")
        for service in ("", "boardd.v1.Boardd"):
            wait_until(
                lambda service=service: process.health(service) == HealthCheckResponse.NOT_SERVING,
                "health says so",
            )
        # Asked to stop again, it is waited for, not cut short.
        result = boardd("stop", "--address", process.address, "--timeout", "3")
        assert_refused(result, 1, f"pid {process.pid} still writes.*kill {process.pid}")
        assert process.returncode is None
        process.signal(signal.SIGTERM)
        assert process.wait() == 1
        assert "second signal (SIGTERM): leaving at once" in process.log
        assert not process.socket.exists()
        assert not Path(f"{process.socket}.lock").exists()


def test_it_leaves_when_idle_and_not_while_there_is_a_session(tmp_path: Path) -> None:
    with DaemonProcess(tmp_path, "--idle-exit", "0.5", wait=False) as process:
        process.wait_log("started")
        with process.channel() as channel:
            session = Session(channel)
            with pytest.raises(AssertionError, match="boardd still runs"):
                process.wait(timeout_secs=1.5)
            session.close()
            assert process.wait() == 0
            session.hang_up()
        assert "no session for 0.5 s: leaving" in process.log


def test_the_service_manager_is_told(runtime_directory: Path, tmp_path: Path) -> None:
    path = runtime_directory / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(DEADLINE_SECS)
        environ = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "200000"}
        with DaemonProcess(tmp_path, environ=environ) as process:
            messages = [manager.recv(1000).decode() for _ in range(3)]
            assert messages[0].startswith(f"READY=1\nSTATUS=listening on {process.address}")
            assert messages[1:] == ["WATCHDOG=1"] * 2
            assert process.terminate() == 0
        while (message := manager.recv(1000).decode()) == "WATCHDOG=1":
            pass
        assert message.startswith("STOPPING=1\n")


def test_under_the_journal_lines_carry_a_severity_and_no_time(tmp_path: Path) -> None:
    log = tmp_path / "stderr"
    with log.open("wb") as file:
        status = os.fstat(file.fileno())
        process = subprocess.Popen(
            [sys.executable, "-m", "boardd", "--idle-exit", "0.1", "--logdir-root", str(tmp_path)],
            stderr=file,
            env={
                **os.environ,
                "BOARDD_LOG_FORMAT": "auto",
                "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}",
            },
        )
        assert process.wait(timeout=120) == 0
    lines = log.read_text().splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(f"<6>boardd {__version__} started")
    assert all(line.startswith("<6>") for line in lines)


def test_it_outlives_a_terminal_that_is_gone(daemon: DaemonProcess, tmp_path: Path) -> None:
    """Nobody reads its log any more: no crash, and no flood either."""
    daemon.terminate()
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "boardd", "--socket", str(daemon.socket)),
            *("--logdir-root", str(tmp_path), "--idle-exit", "30"),
        ],
        stderr=write_end,
    )
    try:
        os.close(write_end)
        os.close(read_end)
        wait_until(daemon.socket.exists, "it serves")
        assert boardd("status", "--socket", str(daemon.socket)).returncode == 0
        assert boardd("stop", "--socket", str(daemon.socket)).returncode == 0
        assert process.wait(timeout=120) == 0
    finally:
        process.kill()
        process.wait(timeout=120)
