"""Whose journal it is, where the file system has no locks: the daemon's that opened it last.

A daemon claims the journal before it reads it, and looks whether the claim still is its own
after each append, before that counts. So what a daemon counts as written, the one that takes
over has read. What comes too late to be read counts nowhere: the segment of the one that
takes over begins where it had read to, and each segment ends there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.printable import printable

from boardd.core.refusals import RefusedError
from boardd.runs.directories import file_mode
from boardd.runs.directories.file_mode import FILE_MODE
from boardd.runs.directories.logdir import RunDirectory

#: Beside the segments; it says who claimed the journal last.
CLAIM_NAME: Final = "claim"
_MAX_BYTES: Final = 512
_WRITE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class ClaimGoneError(OSError):
    """The claim is gone, with the run's directory perhaps: open the journal anew."""


class JournalClaim:
    """The claim of this daemon on the journal in ``directory``. Blocks on the disk.

    ``earlier`` is a claim of this writer on the same journal, which must still count, or be
    gone. Raises ``OSError``, and ``RefusedError`` if another daemon has claimed it since.
    """

    def __init__(self, directory: RunDirectory, earlier: JournalClaim | None = None) -> None:
        self.directory = directory
        self._text = b"%s pid %d %s" % (
            os.urandom(16).hex().encode(),
            os.getpid(),
            socket.gethostname().encode(),
        )
        #: Whether it is to be looked at: nothing else keeps other daemons out.
        self.is_needed = not directory.is_locked
        if not self.is_needed:
            return
        found = self._read()
        if earlier is not None and earlier.is_needed and found:
            self._compare(earlier._text, found)
        name = f"{CLAIM_NAME}.{os.urandom(8).hex()}"
        fd = os.open(name, _WRITE, file_mode.mode(FILE_MODE, directory.umask), dir_fd=directory.fd)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(self._text)
            os.rename(name, CLAIM_NAME, src_dir_fd=directory.fd, dst_dir_fd=directory.fd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name, dir_fd=directory.fd)
            raise

    def check(self) -> None:
        """Raises ``RefusedError`` if another daemon has claimed the journal. Any thread may ask.

        Raises ``ClaimGoneError`` if nobody has a claim, and ``OSError``.
        """
        if not self.is_needed:
            return
        found = self._read()
        if not found:
            path = self.directory.path
            raise ClaimGoneError(
                errno.ENOENT, "the claim on the journal was removed, or its directory", str(path)
            )
        self._compare(self._text, found)

    def _compare(self, own: bytes, found: bytes) -> None:
        if found == own:
            return
        who = printable(found.partition(b" ")[2].decode(errors="replace"))
        raise RefusedError(
            pb.RUN_REFUSED,
            f"{self.directory.path}: the journal was taken over ({who}) while this daemon was "
            "stopped or cut off; log to the daemon that has it, or stop that one and open the "
            "writers anew",
        )

    def _read(self) -> bytes:
        """What the claim says; empty if there is none."""
        try:
            fd = os.open(self.directory.path / CLAIM_NAME, _READ)
        except FileNotFoundError:
            return b""
        try:
            return os.read(fd, _MAX_BYTES)
        finally:
            os.close(fd)
