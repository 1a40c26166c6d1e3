"""Checks of this machine: shared memory, descriptors, memory, and disks."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import psutil
from boardd_protos.control_groups import memory_limit_bytes
from boardd_protos.log_directory import is_tmpfs_path, log_directories

from boardd.commands.findings import Finding, Grade, fail, ok, warn
from boardd.commands.quantities import size

#: Below these, the next log or record may find no room.
LEAST_LOG_BYTES: Final = 64 << 20
LEAST_DISK_BYTES: Final = 64 << 20
LOW_DISK_BYTES: Final = 1 << 30
LOW_MEMORY_BYTES: Final = 512 << 20
LEAST_DESCRIPTORS: Final = 4096


def check_shared_memory(socket_path: Path) -> Iterator[Finding]:
    """Yields whether clients can share memory with the daemon of ``socket_path``."""
    try:
        os.close(os.memfd_create("boardd-doctor", os.MFD_CLOEXEC))
    except (OSError, AttributeError) as error:
        yield warn(
            "shared memory",
            f"memfd_create does not work ({error}): tensors are sent through gRPC",
            "allow it in the sandbox or container",
        )
    else:
        yield ok("shared memory", "memfd works")
    # What is missing is made there, one directory after another.
    bases = [directory.parents[2] for directory in log_directories(socket_path)]
    usable = [base for base in bases if _is_writable_tmpfs(base)]
    if not usable:
        yield warn(
            "logs",
            f"none of {', '.join(map(str, bases))} is a tmpfs that you can write: what is logged "
            "does not outlive its process",
            "mount a tmpfs at /dev/shm",
        )
        return
    space = os.statvfs(usable[0])
    yield log_finding(usable[0], space.f_bavail * space.f_frsize)


def _is_writable_tmpfs(directory: Path) -> bool:
    try:
        return is_tmpfs_path(directory) and os.access(directory, os.W_OK)
    except OSError:
        return False


def log_finding(base: Path, free_bytes: int) -> Finding:
    """Whether clients find room for their logs in the tmpfs ``base``."""
    text = f"{size(free_bytes)} free in {base}"
    if free_bytes < LEAST_LOG_BYTES:
        return warn("logs", text, "remove what is left there, or enlarge it (docker: --shm-size)")
    return ok("logs", text)


def check_descriptors(pid: int | None) -> Iterator[Finding]:
    """Yields how many files may be open, in the daemon ``pid`` if one runs."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    in_use = 0
    if pid:
        try:
            _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
            in_use = len(os.listdir(f"/proc/{pid}/fd"))
        except OSError:  # another user's
            return
    yield descriptor_finding(in_use, hard)


def descriptor_finding(in_use: int, hard_limit: int) -> Finding:
    """Whether the daemon may open enough files; ``hard_limit`` -1: as many as it likes."""
    if hard_limit in (-1, resource.RLIM_INFINITY):
        return ok("descriptors", "no limit")
    text = f"{in_use:,} of {hard_limit:,} in use" if in_use else f"{hard_limit:,} may be open"
    if hard_limit < LEAST_DESCRIPTORS or in_use > 0.8 * hard_limit:
        return warn("descriptors", text, "raise the hard limit: ulimit -Hn, or LimitNOFILE=")
    return ok("descriptors", text)


def check_memory(intake_budget_bytes: int, pid: int | None) -> Iterator[Finding]:
    """Yields whether there is memory for the budget, 0 if not known, of the daemon ``pid``."""
    available = psutil.virtual_memory().available
    limit = None
    if pid or not intake_budget_bytes:
        limit = memory_limit_bytes(membership=Path(f"/proc/{pid or 'self'}/cgroup"))
    yield memory_finding(available, limit, intake_budget_bytes)


def memory_finding(available_bytes: int, limit_bytes: int | None, budget_bytes: int) -> Finding:
    """Whether memory will do; ``limit_bytes`` is the control group's, None without one."""
    text = f"{size(available_bytes)} available"
    if limit_bytes is not None:
        text += f", {size(limit_bytes)} for the control group"
    if limit_bytes is not None and budget_bytes > limit_bytes / 2:
        return warn(
            "memory",
            f"{text}: records alone may take {size(budget_bytes)}",
            "lower --intake-bytes, or raise the limit",
        )
    if available_bytes < LOW_MEMORY_BYTES:
        return warn("memory", text, "free some: the system may kill a process")
    return ok("memory", text)


def sees_files_alike(pid: int) -> bool:
    """Whether process ``pid`` has this user's rights, and the same mounts."""
    try:
        is_ours = psutil.Process(pid).uids().effective == os.geteuid()
        return is_ours and os.path.samefile(f"/proc/{pid}/ns/mnt", "/proc/self/ns/mnt")
    except (psutil.Error, OSError):
        return False


def check_disks(directories: Iterable[str], *, is_alike: bool = True) -> Iterator[Finding]:
    """Yields, for each file system among ``directories``, whether it has room, and who lacks one.

    Of the root of everything only the room is looked at: nobody writes right there.
    ``is_alike``: the daemon finds there what is found here; else nothing fails for it.
    """
    for one in _disks(directories):
        if is_alike or one.grade is not Grade.FAIL:
            yield one
        else:
            yield warn("disk", f"{one.text}, as seen from here", _LOOK_THERE)


_LOOK_THERE: Final = (
    "the daemon is another user's or in a container, where it may be well: run boardd doctor there"
)


def _disks(directories: Iterable[str]) -> Iterator[Finding]:
    seen = set()
    for directory in directories:
        try:
            device = os.stat(directory).st_dev
            space = os.statvfs(directory)
        except OSError as error:
            yield fail("disk", f"{directory}: {error.strerror}", "create it, or name another root")
            continue
        if directory != "/" and not os.access(directory, os.W_OK | os.X_OK):
            yield fail("disk", f"{directory} cannot be written", "give this user the right to")
        if device not in seen:
            seen.add(device)
            inodes = space.f_favail if space.f_files else -1
            yield disk_finding(directory, space.f_bavail * space.f_frsize, inodes)


def disk_finding(directory: str, free_bytes: int, free_inodes: int) -> Finding:
    """Whether there is room at ``directory``; ``free_inodes`` -1: it does not count them."""
    text = f"{size(free_bytes)} free at {directory}"
    if free_inodes == 0:
        return fail("disk", f"{text}, but no inode for a new file", "remove files there")
    if free_bytes < LEAST_DISK_BYTES:
        return fail("disk", text, "free some: runs there are held up, and go on by themselves")
    if free_bytes < LOW_DISK_BYTES:
        return warn("disk", text, "free some soon")
    return ok("disk", text)
