"""Checks of what is installed, of what runs, and of two clocks."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import Final

from boardd_protos import __version__
from boardd_protos import boardd_pb2 as pb

from boardd.commands.findings import Finding, fail, ok, warn
from boardd.commands.record_checks import check_records

#: What a client needs; a daemon needs both.
CLIENT_PACKAGES: Final = ("grpcio", "protobuf", "numpy")
DAEMON_PACKAGES: Final = ("numba", "uvloop", "isal", "google-crc32c", "pillow", "psutil")

#: Clocks that differ by more are told of: TensorBoard's wall times are the client's.
MAX_SKEW_SECS: Final = 2.0


def check_packages() -> Iterator[Finding]:
    """Yields which versions are installed here."""
    versions = {name: _version(name) for name in (*CLIENT_PACKAGES, *DAEMON_PACKAGES)}
    missing = [name for name, version in versions.items() if not version]
    there = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    yield ok("versions", f"boardd {__version__}, {there}")
    if missing:
        yield fail("versions", f"not installed: {', '.join(missing)}", "run: pip install boardd")
    client = _version("boardd-client")
    if client and client != __version__:
        yield warn(
            "versions",
            f"boardd-client {client} is installed beside boardd {__version__}",
            "run: pip uninstall boardd-client, and then pip install --force-reinstall boardd",
        )
    if not _version("tensorboard"):
        yield warn("versions", "TensorBoard is not installed here", "run: pip install tensorboard")


def check_status(reply: pb.StatusReply, now: float) -> Iterator[Finding]:
    """Yields what a daemon tells of itself; ``now`` are seconds since the epoch, by this clock."""
    yield ok("daemon", f"boardd {reply.version}, pid {reply.pid}, answers")
    if reply.version != __version__:
        yield warn(
            "versions",
            f"the daemon is {reply.version}, what is installed here {__version__}",
            "restart it with: boardd stop",
        )
    yield from _check_clients(reply)
    for store in reply.stores:
        if store.last_error:
            yield fail(
                "store",
                f"{store.url} has not taken {store.pending_files} files: {store.last_error}",
                "see to its address and to the credentials in the daemon's environment",
            )
        elif store.pending_bytes:
            yield ok("store", f"{store.pending_bytes} bytes are on their way to {store.url}")
    if reply.answered_at:
        skew_secs = reply.answered_at - now
        if abs(skew_secs) > MAX_SKEW_SECS:
            yield warn(
                "clock",
                f"the daemon's is {abs(skew_secs):.1f} s {'ahead' if skew_secs > 0 else 'behind'}",
                "synchronise the clocks of both hosts (NTP)",
            )
        else:
            yield ok("clock", "the daemon's agrees with this one")
    yield from check_records(reply)


def _check_clients(reply: pb.StatusReply) -> Iterator[Finding]:
    """Yields which clients are of another minor version than their daemon."""
    by_version: dict[str, list[pb.SessionStatus]] = {}
    for session in reply.sessions:
        by_version.setdefault(session.client_version, []).append(session)
    daemon = _minor(reply.version)
    for version, sessions in sorted(by_version.items()):
        client = _minor(version)
        if not (client and daemon) or client == daemon:
            continue
        first = sessions[0]
        others = f" and {len(sessions) - 1} more" if len(sessions) > 1 else ""
        is_older = client < daemon
        yield warn(
            "versions",
            f"{first.program or 'a client'} (pid {first.pid} at {first.hostname}){others}: "
            f"boardd {version}, {'older' if is_older else 'newer'} than the daemon's "
            f"{reply.version}",
            f"in its environment run: pip install 'boardd=={daemon[0]}.{daemon[1]}.*'; "
            "then start it again"
            if is_older
            else "upgrade the daemon, then: boardd stop",
        )


def _minor(version: str) -> tuple[int, ...]:
    """Major and minor number; empty if ``version`` does not begin with them."""
    numbers = version.split(".")[:2]
    return tuple(map(int, numbers)) if len(numbers) == 2 and all(map(_is_number, numbers)) else ()


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 10


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
