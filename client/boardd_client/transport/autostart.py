"""Autostart: starts a per-user daemon at an address at which none answers.

Whatever accepts connections on the socket already is used, so an installed
service (systemd's socket included) always wins. Else one daemon is started,
however many processes ask at the same time: they queue for a lock beside the
socket, and all but the first find the daemon that the first started.

The daemon is none of the training's business: not its child (no zombie, no
SIGCHLD, not killed with its process tree), in a session of its own (no Ctrl-C
from the terminal), in ``/``, with no descriptor of the trainer's, its output in
``boardd.log`` beside the socket. It leaves by itself when idle, and never listens on TCP.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from boardd_protos import local_socket, logdir_paths, remote_logdir
from boardd_protos.address import UnixAddress, default_address
from boardd_protos.socket_owner import has_remains, socket_owner

from boardd_client.errors import AutostartError, NoDaemonError
from boardd_client.transport.connection import ConnectionFailedError
from boardd_client.transport.daemon_environment import daemon_environment
from boardd_client.transport.listener import check_listener

#: A daemon's log that is larger starts anew with the next daemon.
MAX_LOG_BYTES: Final = 1 << 20

#: What boardd needs and boardd-client does not install.
_DAEMON_PACKAGES: Final = ("grpc_health", "grpc_reflection", "isal", "numba", "uvloop")

_ELSEWHERE: Final = (
    "or set XDG_RUNTIME_DIR to a private directory, or BOARDD_ADDRESS to another socket"
)

#: With which ``boardd`` begins the line that says why it cannot run.
_REASON_PREFIX: Final = "boardd: "
_LOG_TAIL_BYTES: Final = 2048
_POLL_SECS: Final = 0.02

# Starts "$@" as an orphan and prints its process id. This is a double fork that does
# not fork the trainer, whose threads and frameworks would suffer from it (MXNet's
# engine stops and restarts around a fork).
_ORPHAN: Final = '"$@" >&2 & echo $!'


def ensure_daemon(
    address: UnixAddress, timeout_secs: float, is_given_up: Callable[[], bool] = lambda: False
) -> None:
    """Returns once a daemon accepts connections at ``address``; starts one if need be.

    Blocks for up to ``timeout_secs``, and no longer once ``is_given_up()``; not for the thread
    that trains.

    Environment: ``BOARDD_AUTOSTART=0`` forbids to start one. ``BOARDD_COMMAND`` is
    started in place of ``boardd``, split as a shell would. What else the daemon takes
    from it is listed in ``daemon_environment``.

    Raises:
        NoDaemonError: autostart is switched off or no ``boardd`` is installed; the socket's
            directory is not private to this user; the daemon ended before it served, and
            said why.
        AutostartError: there is none otherwise; it may be another the next time.
    """
    patience = _Patience(time.monotonic() + timeout_secs, is_given_up)
    if _accepts(address):
        return
    try:
        if not _may_start(os.environ):
            raise NoDaemonError(
                f"BOARDD_AUTOSTART={os.environ['BOARDD_AUTOSTART']} forbids to start a daemon at "
                f"{address}; run: {_by_hand(address)}"
            )
        command = _command(os.environ)
    except NoDaemonError as error:
        raise NoDaemonError(str(error), was_killed=has_remains(address.path)) from None
    _ensure_private_directory(address.path.parent)
    with _lock(address, patience) as locked:
        # Those that waited for the lock find the daemon of the one that had it.
        if locked and not _accepts(address):
            _start(command, address, patience)


def obstacle(address: UnixAddress) -> str:
    """Why no daemon can be used at ``address`` before somebody changes something; else empty.

    Looks, and changes nothing.
    """
    try:
        check_listener(address)
        if _accepts(address) or not _may_start(os.environ):
            return ""
        _command(os.environ)
    except (AutostartError, ConnectionFailedError) as error:
        return str(error)
    found = local_socket.directory_obstacle(address.path.parent)
    return f"{found}; {_ELSEWHERE}" if found else ""


def starts_its_own(address: UnixAddress) -> bool:
    """Whether ``ensure_daemon`` would start the daemon of this environment. Looks, as above."""
    try:
        own = [sys.executable, "-m", "boardd"]
        return not _accepts(address) and _may_start(os.environ) and _command(os.environ) == own
    except AutostartError:
        return False


def _by_hand(address: UnixAddress) -> str:
    """What starts a daemon at ``address`` that writes wherever its user may."""
    command = "boardd --logdir-root /"
    if address == default_address():
        return command
    return f"{command} --socket {shlex.quote(os.fspath(address.path))}"


def _may_start(environ: Mapping[str, str]) -> bool:
    return environ.get("BOARDD_AUTOSTART", "1").lower() not in ("0", "false", "no")


def _accepts(address: UnixAddress) -> bool:
    """Whether something listens on the socket.

    Raises ``AutostartError`` if this user may not connect to it.
    """
    try:
        return local_socket.accepts_connections(address.path)
    except PermissionError as error:
        raise AutostartError(f"cannot connect to {address}: {error.strerror}") from None


def _command(environ: Mapping[str, str]) -> list[str]:
    """The command that runs the daemon, without its flags."""
    text = environ.get("BOARDD_COMMAND", "")
    if text:
        try:
            command = shlex.split(text)
        except ValueError as error:
            raise NoDaemonError(f"BOARDD_COMMAND={text!r}: {error}") from None
        program = shutil.which(command[0]) if command else None
        if program is None:
            raise NoDaemonError(f"BOARDD_COMMAND={text!r} names no program that can be run")
        return [os.path.abspath(program), *command[1:]]
    executable = sys.executable or ""  # an embedded interpreter may not know its own
    if executable and _has_daemon():
        return [executable, "-m", "boardd"]
    # One of another environment: that of this one would lack the same packages.
    own = os.path.dirname(executable)
    path = os.pathsep.join(
        directory for directory in os.get_exec_path(dict(environ)) if directory != own
    )
    program = shutil.which("boardd", path=path)
    if program is None:
        raise NoDaemonError("the daemon is not installed; run: pip install boardd")
    return [os.path.abspath(program)]


def _has_daemon() -> bool:
    """Whether this interpreter can run ``-m boardd``, with the packages it needs."""
    try:
        package = importlib.util.find_spec("boardd")
        complete = all(map(importlib.util.find_spec, _DAEMON_PACKAGES))
    except (ImportError, ValueError):
        return False
    if package is None or package.submodule_search_locations is None or not complete:
        return False
    # A directory that happens to be called boardd is found as a namespace package.
    return any(
        os.path.isfile(os.path.join(location, "__main__.py"))
        for location in package.submodule_search_locations
    )


def _ensure_private_directory(path: Path) -> None:
    """Creates ``path`` with mode 0700, or checks that it is private to this user."""
    try:
        local_socket.ensure_private_directory(path)
    except local_socket.DirectoryRefusedError as error:
        raise NoDaemonError(f"{error}; {_ELSEWHERE}") from None


@contextlib.contextmanager
def _lock(address: UnixAddress, patience: _Patience) -> Iterator[bool]:
    """Holds the right to start the daemon; yields False when one accepts meanwhile."""
    # Clients of other versions take the same lock, so its name stays.
    path = address.path.with_name(address.path.name + ".launch")
    descriptor = _open_private(path, os.O_RDWR)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                yield True
                return
            if _accepts(address):
                yield False
                return
            if patience.has_ended():
                raise AutostartError(
                    f"another process has been starting a daemon at {address} for too long; "
                    f"see {_log_path(address)}"
                )
            time.sleep(_POLL_SECS)
    finally:
        os.close(descriptor)


def _open_private(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise AutostartError(f"cannot open {path}: {error.strerror}") from None


def _log_path(address: UnixAddress) -> Path:
    return address.path.with_suffix(".log")


def _start(command: list[str], address: UnixAddress, patience: _Patience) -> None:
    """Starts the daemon and returns once it accepts connections."""
    log = _open_private(_log_path(address), os.O_RDWR | os.O_APPEND)
    try:
        if os.fstat(log).st_size > MAX_LOG_BYTES:
            os.ftruncate(log, 0)
        log_start = os.fstat(log).st_size
        arguments = [*command, *_flags(address, os.environ)]
        try:
            shell = subprocess.run(
                ["/bin/sh", "-c", _ORPHAN, "boardd", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd="/",  # where a daemon writes that knows no better default for its root
                env=daemon_environment(os.environ),
                start_new_session=True,
                check=True,
                timeout=max(0.0, patience.deadline - time.monotonic()),
            )
            process = _Process(int(shell.stdout))
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise AutostartError(f"cannot start {shlex.join(arguments)}: {error}") from None
        with contextlib.closing(process):
            while not _accepts(address):
                if process.has_ended():
                    # It may have found another daemon, started by hand, at the address.
                    if _accepts(address):
                        return
                    words = _last_words(log, log_start)
                    # A command that fails says why in its last line; one that was killed does not.
                    is_final = words.rpartition("\n")[2].startswith(_REASON_PREFIX)
                    is_final = is_final and socket_owner(address.path) is None
                    raise (NoDaemonError if is_final else AutostartError)(
                        f"the daemon ended before it served {address}: {words or 'it said nothing'}"
                    )
                if patience.has_ended():
                    raise AutostartError(
                        f"the daemon (pid {process.pid}) does not serve {address} yet; see "
                        f"{_log_path(address)}: "
                        f"{_last_words(log, log_start) or 'it said nothing'}"
                    )
                process.wait(_POLL_SECS)
    finally:
        os.close(log)


def _flags(address: UnixAddress, environ: Mapping[str, str]) -> list[str]:
    """The daemon's flags. What the user set for the daemon by variables stays in force."""
    flags = ["--socket", os.fspath(address.path), "--autostarted"]
    for root in remote_logdir.split_roots(environ.get("BOARDD_LOGDIR_ROOT", "")):
        flags += ["--logdir-root", logdir_paths.absolute(os.path.expanduser(root))]
    return flags


class _Patience(NamedTuple):
    """How long to wait for a daemon."""

    deadline: float  #: of ``time.monotonic``
    is_given_up: Callable[[], bool]

    def has_ended(self) -> bool:
        """Whether to wait no more."""
        return time.monotonic() >= self.deadline or self.is_given_up()


class _Process:
    """A process that is nobody's child here, watched for its end."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor: int | None = None
        self._has_ended = False
        try:
            self._descriptor = local_socket.open_process(pid)
        except ProcessLookupError:
            self._has_ended = True
        except OSError:
            pass  # without pidfd, only the deadline ends the wait for it

    def has_ended(self) -> bool:
        """Whether it has ended, as far as can be known."""
        return self._has_ended

    def wait(self, timeout_secs: float) -> None:
        """Sleeps until the end of the process, ``timeout_secs`` at most."""
        if self._descriptor is None:
            time.sleep(timeout_secs)
        else:
            self._has_ended = local_socket.has_ended(self._descriptor, timeout_secs)

    def close(self) -> None:
        """Stops watching."""
        if self._descriptor is not None:
            os.close(self._descriptor)


def _last_words(log: int, start: int) -> str:
    """The last lines of the log that this start wrote."""
    end = os.fstat(log).st_size
    first = max(start, end - _LOG_TAIL_BYTES)
    text = os.pread(log, max(0, end - first), first).decode(errors="replace")
    return text.strip()
