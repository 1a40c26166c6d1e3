"""The log of a session: the memory that its ring and its definitions lie in.

A named log is a file on a tmpfs that the daemon finds when this process is dead, even if
it never heard of it; ``boardd_protos.log_directory`` says where. If there is no tmpfs, the
log is a memfd, which the daemon has only once it was handed over. If nothing is to be
shared, it is private memory.

Its memory is taken before it is used, as that of a ``Map``.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import mmap
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from boardd_protos.frame import ALIGNMENT
from boardd_protos.local_socket import DirectoryRefusedError
from boardd_protos.log_directory import (
    is_tmpfs,
    make_log_directory,
    remove_forgotten,
    try_lock,
    unlink_log,
)
from boardd_protos.log_file import (
    ACKNOWLEDGED_OFFSET,
    DEFINITIONS_USED_OFFSET,
    FREED_OFFSET,
    LOG_HEADER_BYTES,
    LogHeader,
)
from boardd_protos.printable import counted

from boardd_client.memory.definitions import KeptDefinitions
from boardd_client.memory.maps import (
    PAGE_BYTES,
    allocate,
    as_large_as_may_be,
    populate,
    private_memory,
)
from boardd_client.memory.parked_frames import ParkedFrames

_logger = logging.getLogger("boardd_client")

#: Room for the definitions of as many series as a session may have, and of many runs; memory
#: is taken as it is used.
DEFINITIONS_BYTES: Final = 64 << 20
#: By which their usable part grows.
_STEP_BYTES: Final = 64 << 10
#: By which the usable part of what is parked grows.
_PARKED_STEP_BYTES: Final = 256 << 10
#: Of a tmpfs, the part that is left to others.
_LEFT_TO_OTHERS: Final = 2

_WORD_BYTES: Final = 8


class Log:
    """See the module. ``definitions`` and the words are None if nothing is shared."""

    def __init__(
        self,
        view: memoryview,
        log_bytes: int,
        fd: int = -1,
        path: str = "",
        parked_offset: int = 0,
    ) -> None:
        """``view`` is all of the file ``fd``, header included, or private memory.

        That has the ring, and what is parked behind it.
        """
        self.fd = fd
        self.path: Final = path  #: where the daemon finds it by itself, if so
        self._maker = os.getpid()
        self._has_lost_name = False
        self._view = view
        self._log_bytes = log_bytes
        self.definitions: KeptDefinitions | None = None
        self.tail_words: memoryview | None = None
        self._parked_offset = parked_offset
        self._parked_bytes = 0  # that are usable
        if fd < 0:
            self.ring = view[:log_bytes]
            words = memoryview(bytearray(3 * _WORD_BYTES)).cast("Q")
            parked = view[parked_offset : parked_offset + log_bytes]
            self.parked = ParkedFrames(parked, words, log_bytes, lambda end: log_bytes)
            return
        self.ring = view[LOG_HEADER_BYTES : LOG_HEADER_BYTES + log_bytes]
        self.tail_words = view[FREED_OFFSET : FREED_OFFSET + 2 * _WORD_BYTES].cast("Q")
        self.parked = ParkedFrames(
            view[parked_offset : parked_offset + log_bytes],
            view[ACKNOWLEDGED_OFFSET : ACKNOWLEDGED_OFFSET + 3 * _WORD_BYTES].cast("Q"),
            0,
            self._extend_parked,
        )
        end = DEFINITIONS_USED_OFFSET + _WORD_BYTES
        self._definitions_offset = LOG_HEADER_BYTES + _pages(log_bytes)
        self.definitions = KeptDefinitions(
            view[self._definitions_offset :][:DEFINITIONS_BYTES],
            view[DEFINITIONS_USED_OFFSET:end].cast("Q"),
            _STEP_BYTES,
            self._extend_definitions,
        )

    @property
    def is_shared(self) -> bool:
        """Whether another process can read it."""
        return self.tail_words is not None

    def populate(self) -> None:
        """Maps the ring's pages; see ``maps.populate``."""
        populate(self._view, 0, LOG_HEADER_BYTES + _pages(self._log_bytes))

    def remove_forgotten(self) -> None:
        """Removes what others have left beside its directory, if it has one. Takes milliseconds."""
        directories = [Path(self.path).parent] if self.path else []
        removed = remove_forgotten(directories, time.time())
        if removed:
            _logger.warning(
                "boardd: removed %s that no daemon had looked for in days, %s first",
                counted(len(removed), "log"),
                removed[0],
            )

    def hold(self) -> str:
        """Takes its lock again and sets its time anew; to be called about each second.

        Any open and close of the file in this process gives up the lock. Returns what is to be
        told of it: once, that its name is gone.
        """
        if not self.path or self.fd < 0 or self._has_lost_name or os.getpid() != self._maker:
            return ""
        try:
            try_lock(self.fd)
            os.utime(self.fd)
            self._has_lost_name = os.fstat(self.fd).st_nlink == 0
        except OSError as error:
            self._has_lost_name = True
            return f"the log {self.path} cannot be kept: {error}"
        if not self._has_lost_name:
            return ""
        return (
            f"the log {self.path} was removed: if this process and the daemon are killed at once, "
            "what is not written is lost"
        )

    def remove(self) -> None:
        """Takes its name away: nothing that it holds is to be written any more."""
        if self.path and self.fd >= 0 and os.getpid() == self._maker:
            unlink_log(self.fd, self.path)

    def close(self) -> None:
        """Closes the descriptor; in the process that made it, that gives up its lock."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)

    def release(self) -> None:
        """Lets go of the memory."""
        self.close()
        self.ring = self._view = memoryview(b"")
        if self.definitions is not None:
            self.definitions.release()
        self.parked.release()
        if self.tail_words is not None:
            self.tail_words = self.ring

    def _extend_definitions(self, end: int) -> int:
        """See ``KeptDefinitions``."""
        end = min(-(-end // _STEP_BYTES) * _STEP_BYTES, DEFINITIONS_BYTES)
        try:
            allocate(self.fd, self._definitions_offset, end)
        except OSError:
            return 0
        return end

    def _extend_parked(self, end: int) -> int:
        """See ``ParkedFrames``."""
        start = self._parked_bytes
        end = min(-(-end // _PARKED_STEP_BYTES) * _PARKED_STEP_BYTES, self._log_bytes)
        try:
            allocate(self.fd, self._parked_offset + start, end - start)
        except OSError:
            return start
        self._parked_bytes = end
        return end


def make_log(
    session_id: bytes,
    log_bytes: int,
    *,
    directories: Iterable[Path],
    hostname: str = "",
    program: str = "",
    address: str = "",
    is_shared: bool,
) -> Log:
    """The log of a session with a ring of ``log_bytes``, in the first of ``directories`` that can.

    If none can, it has no name, which is warned about; a log that cannot be shared either is
    private memory.
    """
    log_bytes = log_bytes // ALIGNMENT * ALIGNMENT
    if is_shared:
        definitions_offset = LOG_HEADER_BYTES + _pages(log_bytes)
        header = LogHeader(
            session_id,
            os.getpid(),
            LOG_HEADER_BYTES,
            log_bytes,
            definitions_offset,
            DEFINITIONS_BYTES,
            hostname,
            program,
            address,
        )
        trouble = ""
        for directory in directories:
            try:
                log = _named(header, directory)
            except (OSError, DirectoryRefusedError) as error:
                trouble = trouble or str(error)
            else:
                return log
        _logger.warning(
            "boardd: no file in memory for the log (%s): if this process and the daemon are "
            "killed at once, what is not written is lost",
            trouble,
        )
        with contextlib.suppress(OSError, AttributeError):
            fd = os.memfd_create("boardd-log", os.MFD_CLOEXEC)
            return _opened(header, fd)
    view = as_large_as_may_be(2 * _pages(log_bytes), private_memory)
    parked_offset = len(view) // 2 // ALIGNMENT * ALIGNMENT
    return Log(view, min(log_bytes, parked_offset), parked_offset=parked_offset)


def _named(header: LogHeader, directory: Path) -> Log:
    """Raises ``OSError`` and ``DirectoryRefusedError``."""
    make_log_directory(directory)
    place = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=place)
        try:
            _check_space(fd, header.definitions_offset)
            if not try_lock(fd):
                raise OSError("a new file is locked")
        except BaseException:
            os.close(fd)
            raise
        name = header.session_id.hex()
        log = _opened(header._replace(path=os.fspath(directory / name)), fd)
        try:
            # By its descriptor: it has no other name. Whoever finds it finds it locked and whole.
            os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=place, follow_symlinks=True)
        except BaseException:
            log.close()
            raise
    finally:
        os.close(place)
    return log


def _check_space(fd: int, size_bytes: int) -> None:
    """Raises ``OSError`` unless there is room and others keep enough."""
    if not is_tmpfs(fd):
        raise OSError("it is not on a tmpfs")
    space = os.fstatvfs(fd)
    needed_bytes = space.f_blocks // _LEFT_TO_OTHERS * space.f_frsize + size_bytes
    if space.f_blocks and space.f_bavail * space.f_frsize < needed_bytes:
        raise OSError(errno.ENOSPC, "the tmpfs is nearly half full, and the rest is for others")


def _opened(header: LogHeader, fd: int) -> Log:
    """The log in a new file. Raises ``OSError``."""
    try:
        os.ftruncate(fd, header.size_bytes)
        allocate(fd, 0, header.definitions_offset + _STEP_BYTES)
        view = memoryview(mmap.mmap(fd, header.size_bytes))
    except BaseException:
        os.close(fd)
        raise
    data = header.encode()
    view[: len(data)] = data
    return Log(view, header.log_bytes, fd, header.path, header.parked_offset)


def _pages(size_bytes: int) -> int:
    return -(-size_bytes // PAGE_BYTES) * PAGE_BYTES
