"""A TensorBoard that is started, waited for and ended, played by small programs."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from boardd.commands import tensorboard
from boardd.commands.tensorboard import check_port, free_port, serving, tensorboard_command
from boardd.errors import AddressTakenError, CommandError
from support.waiting import wait_until

#: Answers on the port that it is told, as TensorBoard does.
ANSWERS = """
import http.server, sys
host, port = sys.argv[sys.argv.index("--host") + 1], int(sys.argv[-1])
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer((host, port), Page).serve_forever()
"""
HOST = "127.0.0.1"


def program(text: str) -> list[str]:
    return [sys.executable, "-S", "-c", text]


@pytest.fixture(autouse=True)
def heeded() -> Iterator[None]:
    """No signal is ignored, as those of a shell's background jobs are."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """What is started, to be looked at later."""
    processes: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        processes.append(popen(*arguments, **options))
        return processes[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    return processes


@contextlib.contextmanager
def listening(host: str, port: int = 0) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.bind((host, port))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_ends_it(
    number: signal.Signals, started: list[subprocess.Popen[bytes]]
) -> None:
    before = signal.getsignal(number)
    port = free_port(HOST)
    with pytest.raises(KeyboardInterrupt), serving(program(ANSWERS), [], HOST, port, 60):
        os.kill(os.getpid(), number)
    assert started[0].returncode == -signal.SIGINT
    assert signal.getsignal(number) is before


VIEWS = """
import signal, sys
from boardd.commands.tensorboard import serving
with serving([sys.executable, "-S", "-c", sys.argv[1]], [], sys.argv[2], int(sys.argv[3]), 60):
    print("shown", flush=True)
    signal.pause()
"""


def test_it_ends_with_a_view_that_is_killed() -> None:
    command = [sys.executable, "-c", VIEWS, ANSWERS, HOST, str(free_port(HOST))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as view:
        assert view.stdout is not None
        assert view.stdout.readline() == "shown\n"
        (started,) = psutil.Process(view.pid).children()
        view.kill()
    try:
        wait_until(lambda: not started.is_running() or started.status() == psutil.STATUS_ZOMBIE)
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            started.kill()


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with serving(program(ANSWERS), [], HOST, free_port(HOST), 60):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_that_comes_as_it_starts_ends_it(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    start = subprocess.Popen

    def interrupted(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = start(*arguments, **options)
        os.kill(os.getpid(), signal.SIGTERM)
        return process

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with (
        pytest.raises(KeyboardInterrupt),
        serving(program("import signal; signal.pause()"), [], HOST, free_port(HOST), 60),
    ):
        pytest.fail("it was shown")
    assert started[0].returncode is not None


def test_one_that_is_stopped_is_killed(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard, "_LEAVE_SECS", 0.1)
    start = subprocess.Popen

    def stopped(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = start(*arguments, **options)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        return process

    monkeypatch.setattr(subprocess, "Popen", stopped)
    stops = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"
    with (
        pytest.raises(CommandError, match="does not answer"),
        serving(program(stops), [], HOST, free_port(HOST), 0),
    ):
        pytest.fail("it was shown")
    assert started[0].returncode == -signal.SIGKILL


def test_one_that_heeds_no_signal_is_killed_whatever_comes_meanwhile(
    started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorboard, "_LEAVE_SECS", 0.5)
    # A second signal comes while it is being ended.
    heeds_none = f"""
import os, signal
signal.signal(signal.SIGINT, lambda number, frame: os.kill(os.getppid(), signal.SIGTERM))
signal.signal(signal.SIGTERM, signal.SIG_IGN)
{ANSWERS}"""
    with (
        pytest.raises(KeyboardInterrupt),
        serving(program(heeds_none), [], HOST, free_port(HOST), 60),
    ):
        os.kill(os.getpid(), signal.SIGTERM)
    assert started[0].returncode == -signal.SIGKILL


def test_what_another_server_answers_is_not_shown() -> None:
    other_port = free_port(HOST)
    with serving(program(ANSWERS), [], HOST, other_port, 60):
        with (
            pytest.raises(CommandError, match=r"has ended.*\ntaken"),
            serving(program("print('taken')"), [], HOST, other_port, 60),
        ):
            pytest.fail("another server's link was shown")
        with (
            pytest.raises(CommandError, match="does not answer"),
            serving(program("import signal; signal.pause()"), [], HOST, other_port, 0.2),
        ):
            pytest.fail("another server's link was shown")


def test_a_port_is_free_at_every_address_of_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def two_addresses(host: str, port: int, **options: Any) -> list[Any]:
        if host != "both":
            return list(resolve(host, port, **options))
        return [*resolve("127.0.0.1", port, **options), *resolve("127.0.0.2", port, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", two_addresses)
    assert check_port("both", 0) > 0
    for host in ("127.0.0.1", "127.0.0.2"):
        with listening(host) as port, pytest.raises(AddressTakenError, match="another --port"):
            check_port("both", port)
    with pytest.raises(CommandError, match="no address of this machine"):
        free_port("192.0.2.1")


def test_what_lies_in_the_working_directory_is_not_run(tmp_path: Path) -> None:
    for name in ("absl", "tensorboard", "signal"):
        (tmp_path / f"{name}.py").write_text("import os; os._exit(77)")
    done = subprocess.run(
        [*tensorboard_command({}), "--version"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()[:1]) == (0, "2"), done.stderr
