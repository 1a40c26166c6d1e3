"""The log of a client, as a file that is read and never mapped: its client may cut it off."""

from __future__ import annotations

import fcntl
import itertools
import os
import stat
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.log_directory import is_tmpfs, try_lock, unlink_log
from boardd_protos.log_file import (
    LOG_HEADER_BYTES,
    LogFileError,
    LogHeader,
    LogVersionError,
    LogWords,
    decode_entries,
    decode_words,
)

from boardd.core.errors import RequestError
from boardd.core.refusals import RefusedError
from boardd.sessions import let_go

#: Of definitions, read at a time.
_PIECE_BYTES: Final = 64 << 10
_PIECE_ENTRIES: Final = 1024
_LENGTH_BYTES: Final = 4
#: How often a read is tried: its failure says nothing of the ring, and would end the session.
_TRIES: Final = 3


class LogVersionRefusedError(RefusedError):
    """The log is of a version that is not known here."""


class ClientLog:
    """The log in the file that ``fd`` refers to, which is duplicated here; its ring can be read.

    Raises ``RefusedError`` for a file that is no log, and for one that does not lie in
    memory: reading it could take any time; ``LogVersionRefusedError`` for another version's.
    ``OSError`` says nothing of the file: there may be no descriptor left for it.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 0)
        try:
            status = os.fstat(self._fd)
            if not stat.S_ISREG(status.st_mode) or not is_tmpfs(self._fd):
                raise RefusedError(pb.REASON_UNSPECIFIED, "the log is no file in memory")
            self.header: Final = LogHeader.decode(os.pread(self._fd, LOG_HEADER_BYTES, 0))
            if self.header.size_bytes > status.st_size:
                raise LogFileError(f"{status.st_size} bytes, not {self.header.size_bytes}")
            decode_words(os.pread(self._fd, LOG_HEADER_BYTES, 0), self.header)
        except LogVersionError as error:
            self.close()
            raise LogVersionRefusedError(pb.REASON_UNSPECIFIED, f"the log: {error}") from None
        except LogFileError as error:
            self.close()
            raise RefusedError(pb.REASON_UNSPECIFIED, f"the log: {error}") from None
        except BaseException:
            self.close()
            raise

    @property
    def size_bytes(self) -> int:
        """Bytes of the ring."""
        return self.header.log_bytes

    def read(self, offset: int, size_bytes: int) -> bytes:
        """A copy of bytes of the ring. Raises ``RequestError`` if they are not there any more."""
        return self._read(self.header.log_offset + offset, size_bytes)

    def read_parked(self, offset: int, size_bytes: int) -> bytes:
        """As ``read``, of the room for parked frames, which has as many bytes as the ring."""
        return self._read(self.header.parked_offset + offset, size_bytes)

    def words(self) -> LogWords:
        """What is freed and defined by now. Raises ``RequestError``."""
        try:
            return decode_words(self._read(0, LOG_HEADER_BYTES), self.header)
        except LogFileError as error:
            raise RequestError(f"the log: {error}") from None

    def definitions(self, at: int, max_entry_bytes: int) -> tuple[list[bytes], int]:
        """The entries of definitions from offset ``at`` on, and the offset to go on at.

        That is the same offset if there is no more. About 64 KiB and 1,024 entries are returned
        at most, and one entry of more than ``max_entry_bytes`` is passed over. Raises
        ``RequestError``.
        """
        used = self.words().definitions_used
        if used - at < _LENGTH_BYTES:
            return [], at
        start = self.header.definitions_offset + at
        piece = self._read(start, min(used - at, _PIECE_BYTES))
        entries = list(itertools.islice(decode_entries(piece), _PIECE_ENTRIES))
        if not entries:  # it is longer than that, or it is cut off
            length = int.from_bytes(self._read(start, _LENGTH_BYTES), "little")
            if length > used - at - _LENGTH_BYTES:
                return [], at
            if length <= max_entry_bytes:
                entries = [self._read(start + _LENGTH_BYTES, length)]
            return entries, at + _LENGTH_BYTES + length
        return entries, at + sum(_LENGTH_BYTES + len(entry) for entry in entries)

    def remove(self) -> None:
        """Takes the file's name away, unless its client lives and may still need it."""
        if self._fd >= 0 and try_lock(self._fd):
            unlink_log(self._fd, self.header.path)

    def close(self) -> None:
        """Reads no more. Idempotent."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            let_go.close(fd)

    def _read(self, offset: int, size_bytes: int) -> bytes:
        failed = ""
        for _ in range(_TRIES):
            try:
                data = os.pread(self._fd, size_bytes, offset)
            except OSError as error:
                failed = str(error.strerror)
                continue
            if len(data) != size_bytes:
                raise RequestError(f"the log has no {size_bytes} bytes at {offset} any more")
            return data
        raise RequestError(f"the log cannot be read: {failed}")
