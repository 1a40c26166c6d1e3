from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from boardd_client.errors import AutostartError, NoDaemonError
from boardd_client.transport import autostart
from boardd_client.transport.daemon_environment import daemon_environment
from boardd_protos.address import UnixAddress
from support.waiting import wait_until

START_SECS = 120.0
STOP_SECS = 60.0


def serving_pid(address: UnixAddress) -> int | None:
    """The process that listens on ``address``, as the kernel knows it."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(os.fspath(address.path))
        except OSError:
            return None
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("3i", credentials)[0])


def runs(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"  # a zombie of init's has ended


def wait_until_ended(pid: int) -> None:
    wait_until(lambda: not runs(pid), f"process {pid} is gone", STOP_SECS)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[UnixAddress]:
    result = UnixAddress(tmp_path / "runtime" / "boardd.sock")
    yield result
    pid = serving_pid(result)
    if pid is not None and pid != os.getpid():
        os.kill(pid, signal.SIGTERM)
        wait_until_ended(pid)


def log_of(address: UnixAddress) -> Path:
    return address.path.parent / "boardd.log"


def test_a_daemon_of_nobodys_is_started_once(
    address: UnixAddress, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("PYTHONINSPECT", "1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/training/notify")
    monkeypatch.setenv("BOARDD_LISTEN", "127.0.0.1:0")
    monkeypatch.setenv("BOARDD_TOKEN", "correct-horse-battery-staple")
    monkeypatch.setenv("BOARDD_MAX_RUNS", "77")
    with open(tmp_path / "inherited", "w") as file:
        os.set_inheritable(file.fileno(), True)
        autostart.ensure_daemon(address, START_SECS)
    pid = serving_pid(address)
    assert pid is not None
    autostart.ensure_daemon(address, START_SECS)
    assert serving_pid(address) == pid

    process = Path(f"/proc/{pid}")
    parent = int(process.joinpath("stat").read_text().rpartition(")")[2].split()[1])
    assert parent != os.getpid()
    assert os.getsid(pid) != os.getsid(0)
    assert os.getpgid(pid) != os.getpgid(0)
    assert os.readlink(process / "cwd") == "/"
    descriptors = {}
    for path in process.joinpath("fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            descriptors[path.name] = os.readlink(path)
    assert descriptors["0"] == "/dev/null"
    assert descriptors["1"] == descriptors["2"] == os.fspath(log_of(address))
    assert not [target for target in descriptors.values() if "inherited" in target]
    environ = dict(
        variable.split("=", 1)
        for variable in process.joinpath("environ").read_text().split("\0")
        if variable
    )
    assert environ["CUDA_VISIBLE_DEVICES"] == ""
    assert environ["BOARDD_MAX_RUNS"] == "77"
    of_the_shell = {"PWD", "OLDPWD", "SHLVL", "_"}
    assert set(environ) - of_the_shell == set(daemon_environment(os.environ))
    assert not {"PYTHONINSPECT", "NOTIFY_SOCKET", "BOARDD_LISTEN", "BOARDD_TOKEN"} & set(environ)
    assert f"listening on {address};" in log_of(address).read_text()
    assert address.path.parent.stat().st_mode & 0o777 == 0o700
    assert log_of(address).stat().st_mode & 0o777 == 0o600


PECULIAR = """
import os, resource, signal, sys
from pathlib import Path
from boardd_client.transport import autostart
from boardd_protos.address import UnixAddress
os.umask(0o077)
os.nice(15)
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGCHLD})
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 24, resource.RLIM_INFINITY))
autostart.ensure_daemon(UnixAddress(Path(sys.argv[1])), 60.0)
"""


def test_the_daemon_is_as_any_process_would_have_started_it(address: UnixAddress) -> None:
    done = subprocess.run([sys.executable, "-c", PECULIAR, address.path], timeout=START_SECS)
    assert done.returncode == 0
    pid = serving_pid(address)
    assert pid is not None
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    assert int(status["Umask"], 8) == 0o022
    assert int(status["SigBlk"], 16) == 0
    ignored = int(status["SigIgn"], 16)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, signal.SIGCHLD):
        assert not ignored >> (number - 1) & 1, number
    assert resource.prlimit(pid, resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            assert os.sched_getaffinity(int(task.name)) == os.sched_getaffinity(os.getpid())
    if os.geteuid() == 0:  # others may not raise a priority
        assert os.getpriority(os.PRIO_PROCESS, pid) == 10


CALLER = """
import os, sys
from pathlib import Path
from boardd_client.transport import autostart
from boardd_protos.address import UnixAddress
print("ready", flush=True)
sys.stdin.readline()
autostart.ensure_daemon(UnixAddress(Path(sys.argv[1])), 60.0)
"""


def test_many_processes_start_one_daemon(address: UnixAddress) -> None:
    callers = [
        subprocess.Popen(
            [sys.executable, "-c", CALLER, address.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(8)
    ]
    for caller in callers:
        assert caller.stdout is not None
        assert caller.stdout.readline() == "ready\n"
    for caller in callers:
        assert caller.stdin is not None
        caller.stdin.write("go\n")
        caller.stdin.flush()
    for caller in callers:
        caller.communicate(timeout=START_SECS)
        assert caller.returncode == 0
    pid = serving_pid(address)
    assert pid is not None
    assert runs(pid)  # though every caller is gone
    assert log_of(address).read_text().count("listening on") == 1


def test_it_leaves_when_idle_and_is_started_again(
    address: UnixAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_IDLE_EXIT", "0.2")
    # On a busy machine it leaves before it is found.
    with contextlib.suppress(AutostartError):
        autostart.ensure_daemon(address, START_SECS)
    wait_until(lambda: "has left" in log_of(address).read_text(), "it has left", STOP_SECS)
    told = r"pid (\d+): listening on .*\n.*no session for 0\.2 s: leaving\n.*pid \1 has left\n"
    (pid,) = re.findall(told, log_of(address).read_text())
    first = int(pid)
    wait_until_ended(first)
    monkeypatch.setenv("BOARDD_IDLE_EXIT", "60")
    autostart.ensure_daemon(address, START_SECS)
    second = serving_pid(address)
    assert second not in (None, first)


def test_a_socket_left_by_a_killed_daemon(address: UnixAddress) -> None:
    autostart.ensure_daemon(address, START_SECS)
    first = serving_pid(address)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: serving_pid(address) is None, "its last thread has ended", STOP_SECS)
    assert address.path.exists()
    autostart.ensure_daemon(address, START_SECS)
    assert serving_pid(address) not in (None, first)


def test_whatever_listens_is_used(address: UnixAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOARDD_COMMAND", "false")
    address.path.parent.mkdir()  # open to others: it is an installed service's business
    with socket.socket(socket.AF_UNIX) as service:
        service.bind(os.fspath(address.path))
        service.listen(0)
        for _ in range(3):  # past the backlog, too
            autostart.ensure_daemon(address, 1.0)
    assert not log_of(address).exists()


def test_switched_off(address: UnixAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOARDD_AUTOSTART", "0")
    with pytest.raises(
        NoDaemonError, match=f"=0 .*run: boardd --logdir-root / --socket {address.path}"
    ):
        autostart.ensure_daemon(address, 1.0)
    assert not address.path.parent.exists()
    # One that was killed there may be restarted by whoever runs it.
    address.path.parent.mkdir(0o700)
    for was_killed in (False, True):
        with pytest.raises(NoDaemonError, match="BOARDD_AUTOSTART=0") as raised:
            autostart.ensure_daemon(address, 1.0)
        assert raised.value.was_killed is was_killed
        address.path.touch()


def test_a_daemon_that_ends_at_once(address: UnixAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOARDD_COMMAND", "/bin/sh -c 'echo no luck today; exit 3'")
    start = time.monotonic()
    with pytest.raises(AutostartError, match=r"ended before it served .*no luck today") as raised:
        autostart.ensure_daemon(address, START_SECS)
    assert not isinstance(raised.value, NoDaemonError)  # it may have been killed
    assert time.monotonic() - start < START_SECS / 2


def test_a_daemon_that_refuses_its_settings(
    address: UnixAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_LOG_LEVEL", "deafening")
    with pytest.raises(NoDaemonError, match="BOARDD_LOG_LEVEL: 'deafening'"):
        autostart.ensure_daemon(address, START_SECS)


def test_a_daemon_that_never_serves(address: UnixAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOARDD_COMMAND", "/bin/sh -c 'echo thinking; sleep 2'")
    with pytest.raises(AutostartError, match=r"pid \d+\) does not serve .*thinking"):
        autostart.ensure_daemon(address, 0.5)


def test_a_log_that_grew_starts_anew(address: UnixAddress, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOARDD_COMMAND", "/bin/sh -c 'echo new words'")
    address.path.parent.mkdir(0o700)
    log_of(address).write_text("old words\n" * 200_000)
    for _ in range(2):
        with pytest.raises(AutostartError, match="new words") as raised:
            autostart.ensure_daemon(address, START_SECS)
        assert "old words" not in str(raised.value)
    assert log_of(address).read_text() == "new words\n" * 2


@pytest.mark.parametrize("command", ["no-such-program", "'unbalanced", "  "])
def test_a_command_that_cannot_be_run(
    command: str, address: UnixAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_COMMAND", command)
    with pytest.raises(AutostartError, match="BOARDD_COMMAND="):
        autostart.ensure_daemon(address, 1.0)


def test_a_daemon_that_is_not_installed(
    address: UnixAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)  # as if it could not be imported
    monkeypatch.setenv("PATH", os.path.dirname(sys.executable))
    with pytest.raises(NoDaemonError, match=r"pip install boardd"):
        autostart.ensure_daemon(address, 1.0)
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(sys, "executable", None)  # that of an embedded interpreter
    with pytest.raises(NoDaemonError, match=r"pip install boardd"):
        autostart.ensure_daemon(address, 1.0)


def test_a_daemon_of_another_environment(
    address: UnixAddress, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "boardd"
    program.write_text("#!/bin/sh\necho elsewhere: $@\n")
    program.chmod(0o755)
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.setenv("PATH", f"{os.path.dirname(sys.executable)}:{tmp_path}")
    monkeypatch.setenv("BOARDD_LOGDIR_ROOT", f"relative:{tmp_path}")
    expected = (
        f"elsewhere: --socket {address.path} --autostarted "
        f"--logdir-root {Path.cwd()}/relative --logdir-root {tmp_path}"
    )
    with pytest.raises(AutostartError, match=expected):
        autostart.ensure_daemon(address, START_SECS)


def test_directories_that_are_not_private(address: UnixAddress, tmp_path: Path) -> None:
    directory = address.path.parent
    directory.mkdir()
    directory.chmod(0o750)
    with pytest.raises(AutostartError, match=f"mode 0750.*such as {directory}/boardd-"):
        autostart.ensure_daemon(address, 1.0)
    directory.rmdir()
    directory.symlink_to(tmp_path)
    with pytest.raises(AutostartError, match="symlink"):
        autostart.ensure_daemon(address, 1.0)
    with pytest.raises(AutostartError, match="cannot be made"):
        autostart.ensure_daemon(UnixAddress(tmp_path / "no" / "such" / "boardd.sock"), 1.0)


def test_a_log_that_is_a_symlink_is_not_followed(address: UnixAddress, tmp_path: Path) -> None:
    address.path.parent.mkdir(0o700)
    log_of(address).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AutostartError, match="cannot open"):
        autostart.ensure_daemon(address, 1.0)
    assert not (tmp_path / "elsewhere").exists()
