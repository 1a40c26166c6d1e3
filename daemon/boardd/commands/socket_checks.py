"""Checks of a Unix socket: its directory, who holds its lock, and who listens."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

from boardd_protos import address
from boardd_protos.local_socket import (
    ForeignSocketError,
    accepts_connections,
    check_peer,
    directory_obstacle,
)
from boardd_protos.socket_owner import SocketOwner, lock_holder, socket_owner

from boardd.commands.findings import Finding, fail, ok, warn


def check_socket(
    where: address.UnixAddress, environ: Mapping[str, str], *, can_start: bool = True
) -> Iterator[Finding]:
    """Yields what is found of the socket at ``where``. Changes nothing, and does not wait.

    ``can_start``: nothing else is known to keep a daemon from starting.
    """
    yield from _check_runtime_directory(where, environ)
    try:
        is_served = accepts_connections(where.path)
    except PermissionError:
        yield fail("socket", f"{where.path} is closed to this user", "run a daemon of your own")
        return
    if is_served:
        yield _listener(where.path)
    owner = socket_owner(where.path)
    pid = lock_holder(where.path)
    if not is_served:
        obstacle = directory_obstacle(where.path.parent)
        if obstacle:
            yield fail("socket directory", obstacle, "choose another with BOARDD_ADDRESS")
        else:
            state = "is yours alone" if where.path.parent.is_dir() else "is made when it is needed"
            yield ok("socket directory", f"{where.path.parent} {state}")
        if owner is None and (obstacle or not can_start):
            return  # what fails is told already
    yield holder_finding(owner, pid, is_served=is_served, environ=environ)


def holder_finding(
    owner: SocketOwner | None, pid: int | None, *, is_served: bool, environ: Mapping[str, str]
) -> Finding:
    """Who holds the socket's lock, and whether that fits who listens.

    ``pid`` is the owner's, None if it cannot be seen from here.
    """
    if owner is None:
        if is_served:
            return ok("lock", "nobody here holds it: who listens runs in another container")
        if environ.get("BOARDD_AUTOSTART", "1").lower() in ("0", "false", "no"):
            return warn(
                "daemon", "none runs, and BOARDD_AUTOSTART forbids clients to start one", _START
            )
        return ok("daemon", "none runs; the next client that logs starts one")
    by = ": it was started by hand or service"
    if owner.is_autostarted:
        by = ": a client has started it"
    elif owner == SocketOwner(owner.pid):
        by = ""  # 0.1.0 does not say
    holder = f"pid {pid}" if pid else "another user's process, or one in another container"
    if is_served:
        return ok("lock", f"held by {holder}{by}")
    return fail(
        "lock",
        f"held by {holder}, which does not listen: it starts, leaves or hangs",
        f"wait; if it stays, end it{f' with: kill {pid}' if pid else ' there'}",
    )


_START = "run: boardd --logdir-root DIR"


def _check_runtime_directory(
    where: address.UnixAddress, environ: Mapping[str, str]
) -> Iterator[Finding]:
    base = environ.get("XDG_RUNTIME_DIR", "")
    if base and where == address.default_address() and Path(base) not in where.path.parents:
        yield warn(
            "XDG_RUNTIME_DIR",
            f"{base} is not usable, so {where.path.parent} is used",
            "unset it, or log in anew so that it names a directory of this user's",
        )


def _listener(path: Path) -> Finding:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
            check_peer(probe)
        except ForeignSocketError as error:
            return fail("socket", str(error), "end that daemon, or use another socket")
        except OSError as error:
            return warn("socket", f"{path}: {error.strerror}", "look again when it is less busy")
    return ok("socket", f"{path} is served by this user or root")
