"""The live file of a run: the one that takes records.

A record is *written* when ``append`` has returned: the operating system has its bytes,
nothing is held back here, and others can read it. It is *synced* when ``sync``
has returned.

What happens after each failure:

- **No room** (ENOSPC, EDQUOT): the bytes that did get into the file stay; the
  rest is remembered and ``resume`` goes on at exactly the next byte, so the
  file ends up as if nothing had happened.
- **Any other error of a write** (EIO; EFBIG, which is the filesystem's largest
  file): the file is not trusted to take more. A new one, later by name, begins
  with the first record that had not gone wholly into the old one. The torn tail
  is left alone, since a reader may have read it.
- **The file is not at its path any more**, removed or replaced by someone: a new one
  begins with all of the append. The next ``sync`` tells.
- **A failed fsync**: never tried again, because the kernel may have dropped the
  pages and a second fsync would report success. The file is left, the next
  append begins a new one, and the caller is told how much is in doubt.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from boardd.core.durations import Durations
from boardd.core.refusals import RefusedError
from boardd.events.marks import Part
from boardd.events.tfrecord import whole_records
from boardd.runs.directories import file_mode
from boardd.runs.directories.disk_full import FULL, DiskFullError
from boardd.runs.directories.file_mode import FILE_MODE
from boardd.runs.directories.logdir import RunDirectory
from boardd.runs.event_files.durability import Durability
from boardd.runs.event_files.mark_writer import MarkWriter
from boardd.runs.event_files.resting_file import RestingFile

_logger = logging.getLogger(__name__)

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_APPEND | os.O_CLOEXEC


class _Append:
    """Framed events that are being written, and how much of them the live file has.

    ``parts`` says whose records they are. The first ``framed_bytes`` are what nobody
    appended: the file's opening event and the mark; -1 until they are there.
    """

    __slots__ = ("_pieces", "_size_bytes", "done_bytes", "framed_bytes", "is_suspect", "parts")

    def __init__(
        self,
        pieces: Sequence[bytes | memoryview] = (),
        parts: Sequence[Part] = (),
        frame: bytes | None = None,
    ) -> None:
        #: Copied together once, when they are written.
        self._pieces = pieces if frame is None else (frame, *pieces)
        self._size_bytes = sum(map(len, self._pieces))
        self.parts = parts
        self.framed_bytes = -1 if frame is None else len(frame)
        self.done_bytes = 0
        #: Whether a write failed, so that the file may not take more.
        self.is_suspect = False

    @property
    def left_bytes(self) -> int:
        """Bytes that are still to be written."""
        return self._size_bytes - self.done_bytes

    @property
    def records(self) -> memoryview:
        """All that is to be written."""
        if len(self._pieces) != 1:
            self._pieces = (b"".join(self._pieces),)
        return memoryview(self._pieces[0])

    @property
    def events(self) -> memoryview:
        """What was appended."""
        return self.records[max(self.framed_bytes, 0) :]

    def framed(self, frame: bytes | None) -> _Append:
        """As this, of which nothing was written, behind another ``frame``."""
        pieces = self._pieces if self.framed_bytes <= 0 else (self.events,)
        return _Append(pieces, self.parts, frame)

    def write(self, fd: int, durability: Durability, timing: Durations) -> None:
        """Writes what is left. Raises ``OSError``; then call it again."""
        records = self.records
        begun_at = time.perf_counter()
        try:
            while self.left_bytes:
                written = os.write(fd, records[self.done_bytes :])
                if written == 0:
                    raise OSError(errno.EIO, "write took nothing")
                self.done_bytes += written
                durability.add(written)
        finally:
            timing.add(time.perf_counter() - begun_at)

    def whole_events(self) -> tuple[int, int]:
        """Length and number of the events that are whole in the file."""
        return whole_records(self.events, self.done_bytes - max(self.framed_bytes, 0))


class FileKind(Protocol):
    """How the files of one kind are called, and how they begin."""

    def next_name(self, directory: int) -> str:
        """A name that sorts after every file of this kind in ``directory``, a descriptor.

        Raises ``RefusedError`` if there is none, and ``OSError``.
        """

    def opening(self, written_events: int, is_whole: bool) -> bytes:
        """The record that opens the next file.

        ``written_events`` is that of ``LiveFile``. ``is_whole``: nothing of the append that
        the file begins with is among them.
        """


class LiveFile:
    """Appends encoded records to a run's live file, and begins a new one when it must.

    Blocks on the disk; for one thread at a time. The caller closes the directory,
    after this. ``marks`` says in the file whose events it holds; None leaves that out.

    Raises ``RefusedError`` if no name sorts after those in the directory.
    """

    def __init__(
        self, directory: RunDirectory, kind: FileKind, marks: MarkWriter | None = None
    ) -> None:
        self._kind = kind
        self._directory = directory
        kind.next_name(directory.fd)
        self._marks = marks
        self._fd = -1
        self._path: Path | None = None
        self._closed = False
        self._pending = _Append()
        self._file_holds_events = False
        #: Events of parts that were appended and are whole, also in files that were left.
        self.written_events = 0
        #: The same when the last append began.
        self._events_before = 0
        self._durability = Durability(directory)

    @property
    def path(self) -> Path | None:
        """The live file; None before the first append and after a file was left."""
        return self._path

    @property
    def pending_bytes(self) -> int:
        """Bytes that an append that raised has still to write; 0 if nothing is held up."""
        return self._pending.left_bytes

    def append(self, events: bytes | Sequence[bytes], parts: Sequence[Part] = ()) -> None:
        """Writes whole encoded records; when it returns, all of them are written.

        ``events`` may be in pieces. ``parts`` has a sequence number for each record, in their
        order; needed if the file has marks. Makes the file if there is none. If it raises, it
        has taken over the events all the same: then call ``resume``, not ``append`` again.

        Raises ``DiskFullError`` when there is no room, and ``OSError`` when the
        disk fails also in a new file, or no file can be made. Raises
        ``RuntimeError`` while an earlier append is pending, and once closed.
        """
        if self._closed:
            raise RuntimeError("append after close: open the run anew")
        if self.pending_bytes:
            raise RuntimeError(
                f"append while {self.pending_bytes} bytes are pending: call resume first"
            )
        if not events:
            return
        self._pending = _Append((events,) if isinstance(events, bytes) else events, parts)
        self._events_before = self.written_events
        self.resume()

    def resume(self) -> None:
        """Goes on with an append that raised; returns at once if none did.

        Raises as ``append``, and may be called again after any ``OSError``.
        """
        if not self.pending_bytes:
            return
        may_change_file = True
        while self.pending_bytes:
            if self._pending.is_suspect:
                # What it holds is written, but a later sync reaches only the
                # new file: sync this one now.
                if self._holds_events():
                    self._durability.sync(self._fd, self._path)
                self._leave_file()
                continue
            size_bytes = self._check_in_place()
            if self._fd < 0:
                self._begin_file()
            elif self._pending.framed_bytes < 0:
                self._frame_pending(b"", size_bytes)
            try:
                self._pending.write(self._fd, self._durability, self._directory.timings.write)
                self._file_holds_events = True
            except OSError as error:
                if error.errno in FULL:
                    raise DiskFullError(error.errno, error.strerror, str(self._path)) from error
                self._pending.is_suspect = True
                _logger.warning("%s: %s; going on in a new file", self._path, error.strerror)
                # One new file a call: if that fails too, the disk is ill, and
                # the caller decides how long to wait.
                if not may_change_file:
                    raise
                may_change_file = False
        if self._marks is not None:
            self._marks.written(self._pending.parts)
        self.written_events += sum(len(part.sequences) for part in self._pending.parts)
        self._pending = _Append()

    def sync(self) -> None:
        """Makes all that was appended durable, the file's directory entry included.

        Goes on with a pending append first. Returns at once when nothing was
        written since the last sync.

        Raises as ``resume``, and ``SyncFailedError`` when an fsync failed, or the file
        was removed or replaced.
        """
        self.resume()
        self._check_in_place()
        if self._fd >= 0 and self._durability.is_due:
            self._durability.sync(self._fd, self._path)
            if self._durability.has_failed:
                self._leave_file()
        self._durability.raise_failure()

    def end_file(self) -> None:
        """Syncs the live file and leaves it: the next append begins a new one.

        Does nothing while an append is pending. The next ``sync`` tells if the fsync failed.
        """
        if self._fd >= 0 and not self.pending_bytes:
            self._durability.sync(self._fd, self._path)
            self._close_file()

    def finish(self) -> None:
        """Notes in the file which sessions have ended, if it can; it takes no more events."""
        if self._marks is None or self._fd < 0 or self.pending_bytes:
            return
        with contextlib.suppress(OSError):
            record = self._marks.mark((), os.fstat(self._fd).st_size)
            if record:
                self._durability.add(os.write(self._fd, record))

    def close(self) -> None:
        """Closes the file, without a sync; what is pending is given up. May be called again.

        Raises ``OSError`` if the filesystem reports a late write error, as network
        filesystems do, and ``SyncFailedError`` for what no sync told; it is closed all the same.
        """
        self._closed = True
        self._pending = _Append()
        self._directory.left(self._path)
        fd, self._fd, self._path = self._fd, -1, None
        if fd >= 0:
            os.close(fd)
        self._durability.raise_failure()

    def rest(self) -> RestingFile | None:
        """Closes the descriptor, if there is one, until ``wake`` gets what this returns."""
        if self._fd < 0 or self._path is None:
            return None
        try:
            resting = RestingFile(self._fd, self._path.name)
        except OSError as error:  # its server has forgotten it, or cannot be asked
            self._lose_file(error)
            return None
        fd, self._fd = self._fd, -1
        try:
            os.close(fd)
        except OSError as error:  # a late write error, of a network file system
            self._durability.fail(error, self._path)
        return resting

    def wake(self, resting: RestingFile) -> None:
        """Opens the file again that rests. Raises ``OSError``; then call it again."""
        try:
            self._fd = resting.reopen(self._directory.fd)
        except FileNotFoundError as error:
            self._lose_file(error)
        except PermissionError as error:
            # Others may read what it holds, so what is pending is not written anew.
            if self._durability.is_due:
                self._durability.fail(error, self._path)
            self._leave_file()

    def _begin_file(self) -> None:
        """Makes the next file and puts its opening event before what is pending."""
        opening = self._kind.opening(
            self.written_events, self.written_events == self._events_before
        )
        self._fd, name = _made_next(self._directory, self._kind)
        self._path = self._directory.path / name
        if self._marks is not None:
            self._marks.begin_file()
        self._frame_pending(opening, len(opening))
        self._file_holds_events = False
        self._durability.begin_file()

    def _frame_pending(self, opening: bytes, offset: int) -> None:
        """Puts ``opening``, and behind it at ``offset`` the mark, before what is pending."""
        mark = b"" if self._marks is None else self._marks.mark(self._pending.parts, offset)
        self._pending = self._pending.framed(opening + mark)

    def _check_in_place(self) -> int:
        """Leaves the live file if it is no longer the one at its path; returns its size.

        What is pending is then written anew and whole. Raises ``OSError`` if the path
        cannot be looked at.
        """
        if self._fd < 0 or self._path is None:
            return 0
        try:
            return _size_in_place(self._fd, self._path.name, self._directory.fd)
        except FileNotFoundError as error:
            self._lose_file(error)
            return 0

    def _lose_file(self, error: OSError) -> None:
        """The live file is gone; what is pending is written anew and whole, in the next one."""
        self._durability.lose_file(error, self._path)
        self._pending = self._pending.framed(None)
        self._close_file()

    def _holds_events(self) -> bool:
        """Whether any event that was appended is whole in the live file."""
        return self._file_holds_events or self._pending.whole_events()[1] > 0

    def _leave_file(self) -> None:
        """Gives the live file up; what is pending then begins with the first torn record."""
        holds_events = self._holds_events()
        pending = self._pending
        whole_bytes, whole = pending.whole_events()
        parts = pending.parts
        self.written_events += whole if parts else 0
        if self._marks is not None:
            parts = self._marks.written(parts, whole)
        self._pending = _Append((pending.events[whole_bytes:],), parts)
        path = self._close_file()
        if not holds_events and path is not None:  # they would fill the run, on a failing disk
            with contextlib.suppress(OSError):
                os.unlink(path.name, dir_fd=self._directory.fd)

    def _close_file(self) -> Path | None:
        """Closes the live file; returns its path."""
        self._durability.leave_file()
        fd, path = self._fd, self._path
        self._fd, self._path = -1, None
        with contextlib.suppress(OSError):
            os.close(fd)
        self._directory.left(path)
        return path


def _made_next(directory: RunDirectory, kind: FileKind) -> tuple[int, str]:
    """Makes the next file; returns its descriptor and its name."""
    while True:
        try:
            name = kind.next_name(directory.fd)
        except RefusedError as error:  # since the directory was opened
            raise OSError(errno.ENAMETOOLONG, str(error)) from error
        # Someone else may have made it since the directory was listed.
        with contextlib.suppress(FileExistsError):
            return _made(directory, name), name


def _made(directory: RunDirectory, name: str) -> int:
    """Makes a file; returns its descriptor."""
    try:
        fd = os.open(name, _FLAGS, file_mode.mode(FILE_MODE, directory.umask), dir_fd=directory.fd)
        file_mode.complete(fd, FILE_MODE, directory.umask)
    except FileExistsError:
        raise
    except OSError as error:
        kind = DiskFullError if error.errno in FULL else OSError
        raise kind(error.errno, error.strerror, str(directory.path / name)) from error
    return fd


def _size_in_place(fd: int, name: str, directory: int) -> int:
    """Size of the open file ``fd``, which is called ``name`` in ``directory``.

    Raises ``FileNotFoundError`` if it is not there any more, and ``OSError``.
    """
    try:
        status = os.fstat(fd)
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        raise FileNotFoundError(error.errno, error.strerror) from error
    with contextlib.suppress(FileNotFoundError):
        if os.path.samestat(status, os.stat(name, dir_fd=directory, follow_symlinks=False)):
            return status.st_size
    raise FileNotFoundError(errno.ENOENT, "the file was removed or replaced")
