"""Asking a running daemon for its status, and ending it."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import grpc
from boardd_protos import address
from boardd_protos import boardd_pb2 as pb
from boardd_protos.boardd_pb2_grpc import BoarddStub
from boardd_protos.local_socket import (
    accepts_connections,
    has_ended,
    open_process,
    peer_credentials,
)
from boardd_protos.reasons import AUTHORIZATION
from boardd_protos.socket_owner import lock_holder, socket_owner
from boardd_protos.tls import tls_advice

from boardd.commands.flags import Tls
from boardd.errors import (
    CommandError,
    ConfigError,
    NoDaemonError,
    NotBoarddError,
    RefusedError,
    SilentDaemonError,
    UnauthenticatedError,
    UntrustedError,
)

#: How long a daemon may take to answer before it counts as not answering.
ANSWER_SECS: Final = 5.0


#: How long a daemon may take to leave for another: longer than it may take to write.
REPLACE_SECS: Final = 60.0

#: The flag of a listening socket, ``__SO_ACCEPTCON`` of the kernel's ``linux/net.h``.
_LISTENS: Final = 1 << 16

_logger = logging.getLogger(__name__)


def fetch_status(
    where: address.Address,
    *,
    token: str = "",
    tls: Tls | None = None,
    timeout_secs: float = ANSWER_SECS,
) -> pb.StatusReply:
    """Returns the status of the daemon at ``where``.

    With ``tls`` the call goes over TLS, if it is one over TCP. Raises
    ``NoDaemonError`` when nothing answers in ``timeout_secs`` (``SilentDaemonError`` when
    something listens, ``NotBoarddError`` when that is another program, ``UntrustedError`` for
    TLS), ``RefusedError`` when the daemon refuses (``UnauthenticatedError`` for its token),
    ``ConfigError`` for a file that cannot be used.
    """
    if token and tls is None and isinstance(where, address.TcpAddress) and not where.is_loopback:
        raise ConfigError(
            f"the token would cross the network to {where} in clear; give the authority of the "
            "daemon's certificate with --tls-ca"
        )
    metadata = [(AUTHORIZATION, f"Bearer {token}")] if token else []
    with _channel(where, tls) as channel:
        try:
            reply: pb.StatusReply = BoarddStub(channel).Status(
                pb.StatusRequest(),
                timeout=timeout_secs,
                metadata=metadata,
                wait_for_ready=_is_listened_at(where),
            )
        except grpc.RpcError as error:
            raise _explained(error, where, timeout_secs, is_tls=tls is not None) from None
        return reply


def _is_listened_at(where: address.Address) -> bool:
    """Whether it is worth to wait: a service manager starts a daemon for whoever connects."""
    try:
        return isinstance(where, address.UnixAddress) and accepts_connections(where.path)
    except PermissionError:
        return False


@contextlib.contextmanager
def _channel(where: address.Address, tls: Tls | None) -> Iterator[grpc.Channel]:
    # A proxy that is set for the web must not be asked for a daemon.
    options = [("grpc.enable_http_proxy", 0)]
    if tls is None or isinstance(where, address.UnixAddress):
        channel = grpc.insecure_channel(where.target, options)
    else:
        credentials = grpc.ssl_channel_credentials(
            _content("--tls-ca", tls.ca),
            None if tls.key is None else _content("--tls-client-key", tls.key),
            None if tls.certificate is None else _content("--tls-client-cert", tls.certificate),
        )
        channel = grpc.secure_channel(where.target, credentials, options)
    try:
        yield channel
    finally:
        channel.close()


def _content(flag: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{flag} {path}: {error.strerror}") from None


def _explained(
    error: grpc.RpcError, where: address.Address, timeout_secs: float, *, is_tls: bool = False
) -> CommandError:
    code, details = error.code(), error.details()
    if code is grpc.StatusCode.UNAVAILABLE:
        advice = ""
        if isinstance(where, address.TcpAddress):
            advice = tls_advice(
                details, ca="--tls-ca", certificate="--tls-client-cert", is_tls=is_tls
            )
        if advice:
            return UntrustedError(f"no connection to {where}: {advice}")
        # gRPC names every attempt and address here; the first clause says it all.
        return NoDaemonError(f"no daemon at {where}; to start one: boardd --logdir-root /")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return SilentDaemonError(
            f"something listens at {where} but did not answer in {timeout_secs:g} s; "
            "it may be stopped or starting"
        )
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return NotBoarddError(
            f"what listens at {where} is no boardd; name the daemon's address with --address"
        )
    refusal = f"the daemon at {where} refused: {details} ({code.name})"
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return UnauthenticatedError(refusal)
    return RefusedError(refusal)


def replace(socket_path: Path) -> None:
    """Ends the daemon of a socket for another that is to serve there.

    Its clients keep what it cannot write in time, and go on with the next. Raises a plain
    ``CommandError`` when there is none or it does not leave: the next try may go well.
    """
    where = address.UnixAddress(socket_path)
    try:
        pid = lock_holder(socket_path)
        if pid is not None and pid != _listener(where, ANSWER_SECS):
            _end_unreachable(pid, socket_path)
        else:
            pid = stop(where, timeout_secs=REPLACE_SECS)
    except NoDaemonError as error:
        raise CommandError(f"the daemon that a client has started stays: {error}") from None
    _logger.info("the daemon that a client had started (pid %d) has left for this one", pid)


def _end_unreachable(pid: int, socket_path: Path) -> None:
    """Ends a daemon that has the lock of a socket where a service manager listens meanwhile.

    Raises ``CommandError`` when it is still there after ``REPLACE_SECS``.
    """
    try:
        process = open_process(pid)
    except ProcessLookupError:
        return
    try:
        # The descriptor is of the process that had this pid when it was opened.
        if lock_holder(socket_path) == pid:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, signal.SIGTERM)
        if not has_ended(process, REPLACE_SECS):
            raise CommandError(f"pid {pid} still writes what it holds after {REPLACE_SECS:g} s")
    except PermissionError:
        raise CommandError(
            f"pid {pid} belongs to another user; end it as that user, with: kill {pid}"
        ) from None
    finally:
        os.close(process)


def stop(where: address.UnixAddress, *, timeout_secs: float) -> int:
    """Ends the daemon at ``where`` as SIGTERM does, waits until it is gone, returns its pid.

    Where a service manager listens in the place of a daemon, nobody connects: that would start one.

    Raises ``NoDaemonError`` when there is none, ``CommandError`` when it may
    not be signalled or is still there after ``timeout_secs``.
    """
    if _is_kept_for_a_daemon(where.path):
        raise NoDaemonError(
            f"no daemon at {where}; a service manager listens there, and starts one for whoever "
            "connects"
        )
    deadline = time.monotonic() + timeout_secs

    def remaining() -> float:
        return max(0.0, deadline - time.monotonic())

    def answer_secs() -> float:
        return min(ANSWER_SECS, remaining())

    pid = _listener(where, answer_secs())
    try:
        process = open_process(pid)
    except ProcessLookupError:
        return pid
    except OSError as error:
        raise CommandError(
            f"pid {pid} at {where} cannot be watched: {error.strerror}; end it with: kill {pid}"
        ) from None
    try:
        # The descriptor now holds the process that has this pid. That this process is
        # the daemon, and not a later one with its pid, follows from asking again.
        try:
            fetch_status(where, timeout_secs=answer_secs())
            draining = _is_draining(where, answer_secs())
            same = _listener(where, answer_secs()) == pid
        except NoDaemonError as error:
            if has_ended(process, min(1.0, remaining())):
                return pid
            raise NoDaemonError(f"{error}; its pid is {pid}") from None
        if not same:
            raise CommandError(f"the daemon at {where} changed while it was asked; try again")
        try:
            if not draining:  # a second signal would cut the first one's work short
                signal.pidfd_send_signal(process, signal.SIGTERM)
        except PermissionError:
            raise CommandError(
                f"pid {pid} at {where} belongs to another user; stop it as that user"
            ) from None
        except ProcessLookupError:
            return pid
        if not has_ended(process, remaining()):
            raise CommandError(
                f"pid {pid} still writes what it holds after {timeout_secs:g} s; wait on with "
                f"'boardd stop', or end it at once with: kill {pid}"
            )
    finally:
        os.close(process)
    return pid


def _is_kept_for_a_daemon(socket_path: Path) -> bool:
    """Whether somebody listens on ``socket_path`` and no daemon has its lock. Does not connect."""
    if not os.access(socket_path, os.W_OK) or socket_owner(socket_path) is not None:
        return False
    own = os.path.realpath(socket_path)
    with contextlib.suppress(OSError), open("/proc/net/unix", errors="surrogateescape") as lines:
        for line in itertools.islice(lines, 1, None):
            _, _, _, flags, _, _, _, *name = line.rstrip("\n").split(maxsplit=7)
            is_listening = bool(int(flags, 16) & _LISTENS)
            if is_listening and name and os.path.realpath(name[0]) == own:
                return True
    return False


def _is_draining(where: address.UnixAddress, timeout_secs: float) -> bool:
    # Not needed to ask a daemon elsewhere, from where only the client is installed.
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    with _channel(where, None) as channel:
        try:
            reply = HealthStub(channel).Check(HealthCheckRequest(), timeout=timeout_secs)
        except grpc.RpcError as error:
            raise _explained(error, where, timeout_secs) from None
    return bool(reply.status == HealthCheckResponse.NOT_SERVING)


def _listener(where: address.UnixAddress, timeout_secs: float) -> int:
    """The pid of the process that listens on a Unix socket, as the kernel knows it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(timeout_secs)
        try:
            probe.connect(os.fspath(where.path))
        except (TimeoutError, BlockingIOError):  # with no time at all it does not wait
            raise NoDaemonError(
                f"what listens at {where} did not answer in {timeout_secs:g} s; it may be stopped "
                "or starting"
            ) from None
        except OSError as error:
            raise NoDaemonError(f"no daemon at {where}: {error.strerror}") from None
        pid = peer_credentials(probe).pid
    if pid == 0:
        raise CommandError(
            f"the daemon at {where} runs in another container; stop it there, with SIGTERM"
        )
    return pid
