"""Faults of a daemon while a loop trains, and their end."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from sustained.daemon import Daemon

#: Room on the disk that is filled up; taken from memory only as it is written.
DISK_BYTES = 4 << 30
#: What a full disk is shrunk to beyond what is used: the daemon writes until it is full.
SPARE_BYTES = 1 << 20


class ImpossibleError(Exception):
    """This machine, or this user, cannot make the fault; the message says why."""


@dataclass(frozen=True)
class Fault:
    """A fault, begun when the context is entered and ended when it is left.

    ``disk``: makes the directory that the daemon writes to, beneath a given one.
    """

    title: str
    happens: Callable[[Daemon, Path], AbstractContextManager[None]]
    disk: Callable[[Path], AbstractContextManager[Path]]
    #: What a killed daemon wrote and did not acknowledge is written again by the next.
    may_repeat: bool = False


@contextlib.contextmanager
def plain_disk(root: Path) -> Iterator[Path]:
    """An ordinary directory."""
    path = root / "logs"
    path.mkdir()
    yield path


@contextlib.contextmanager
def small_disk(root: Path) -> Iterator[Path]:
    """A tmpfs of its own, which ``filled`` fills. Raises ``ImpossibleError``."""
    path = root / "disk"
    path.mkdir()
    if os.geteuid() != 0 or not _mount(f"size={DISK_BYTES}", "-t", "tmpfs", "tmpfs", str(path)):
        raise ImpossibleError("mounting a tmpfs to fill needs root")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def _mount(options: str, *arguments: str) -> bool:
    done = subprocess.run(["mount", "-o", options, *arguments], capture_output=True)
    return done.returncode == 0


@contextlib.contextmanager
def stopped(daemon: Daemon, disk: Path) -> Iterator[None]:
    """SIGSTOP, then SIGCONT."""
    with daemon.held():
        yield


@contextlib.contextmanager
def killed(daemon: Daemon, disk: Path) -> Iterator[None]:
    """SIGKILL, and nothing at its address; then another, which is not waited for."""
    daemon.kill()
    try:
        yield
    finally:
        daemon.launch()


@contextlib.contextmanager
def filled(daemon: Daemon, disk: Path) -> Iterator[None]:
    """No byte is left on the disk; then there is room again.

    Raises ``ImpossibleError`` when the disk's size cannot be changed.
    """
    ballast = disk / "ballast"
    usage = os.statvfs(disk)
    used_bytes = (usage.f_blocks - usage.f_bfree) * usage.f_frsize
    # Shrunk first, so that filling the rest takes little memory.
    if not _mount(f"remount,size={used_bytes + SPARE_BYTES}", str(disk)):
        raise ImpossibleError("the disk's size cannot be changed")
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    try:
        yield
    finally:
        _mount(f"remount,size={DISK_BYTES}", str(disk))
        ballast.unlink()


FAULTS = {
    "stopped": Fault("daemon stopped (SIGSTOP)", stopped, plain_disk),
    "killed": Fault("daemon killed (SIGKILL)", killed, plain_disk, may_repeat=True),
    "full": Fault("disk full", filled, small_disk),
}
