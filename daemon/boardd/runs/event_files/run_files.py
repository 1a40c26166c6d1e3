"""The open directory and event file of one run.

Trouble with the disk holds writing up and loses nothing: opening and appending are
tried again every ``retry_secs`` for as long as it lasts, and ``RunProgress.trouble``
says why. Only a refusal ends that, and it is kept in ``RunState.refusal``.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager
from functools import partial
from typing import Final, TypeVar

from boardd_protos import boardd_pb2 as pb

from boardd.core.refusals import Refusal, RefusedError
from boardd.core.runs.run_state import RunState
from boardd.events.embedding import EmbeddingFiles
from boardd.events.marks import Part
from boardd.runs.directories.logdir import Roots, RunDirectory
from boardd.runs.event_files.descriptors import Descriptors
from boardd.runs.event_files.embedding_files import write_embedding
from boardd.runs.event_files.event_file import EventFile, SyncFailedError
from boardd.runs.event_files.event_file_names import newest_event_file
from boardd.runs.event_files.live_file import LiveFile
from boardd.runs.event_files.mark_writer import MarkWriter
from boardd.runs.event_files.recovery import recover
from boardd.runs.event_files.sync_result import SyncResult
from boardd.runs.threads.brief_calls import BriefCalls
from boardd.runs.threads.hang_notice import HangNotice
from boardd.runs.threads.writer_threads import HANGING_SECS
from boardd.summaries.environment_faults import is_environment_fault

_logger = logging.getLogger(__name__)

#: Seconds between tries of what the disk has refused.
RETRY_SECS: Final = 1.0

_HANGS: Final = f"the file system has not answered for more than {HANGING_SECS:g} s"

_Result = TypeVar("_Result")

#: Within it the file system is called.
Reading = Callable[[], AbstractContextManager[None]]
#: Finds out what the files of a directory hold, and opens the one that is to be written.
OpenFile = Callable[[RunDirectory, Reading], LiveFile]


class _NotOwnError(OSError):
    """The run is another daemon's."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class RunFiles:
    """Opens, appends, syncs and closes; see the module.

    For one task on the event loop, and for the one call on a thread that it awaits. Brief calls
    go to ``brief_calls``, all others to ``threads``. ``on_refused`` is called when the run is
    refused, ``on_written`` when something was appended. ``descriptors`` are those of all runs.
    ``open_file`` opens what is written: the run's event file, unless it says otherwise.
    """

    def __init__(
        self,
        run: RunState,
        roots: Roots,
        threads: Executor,
        brief_calls: BriefCalls[Executor],
        on_refused: Callable[[RunState], None],
        retry_secs: float = RETRY_SECS,
        on_written: Callable[[RunState], None] = lambda run: None,
        descriptors: Descriptors | None = None,
        open_file: OpenFile | None = None,
    ) -> None:
        self._run = run
        self._open_file = open_file or partial(_open_event_file, run)
        self._roots = roots
        self._threads = threads
        self._brief_calls = brief_calls
        self._on_refused = on_refused
        self._retry_secs = retry_secs
        self._on_written = on_written
        self._descriptors = descriptors or Descriptors()
        self._hangs = HangNotice(self._hang)
        self._directory: RunDirectory | None = None
        self._file: LiveFile | None = None

    @property
    def is_open(self) -> bool:
        """Whether the directory and its event file are open."""
        return self._file is not None

    async def open(self, gives_up: Callable[[], bool] | None = None) -> bool:
        """Opens the run's directory if it is not open. Returns whether it is open.

        Tries for as long as that takes, until the directory is refused, or until
        ``gives_up`` says so after a failed try.
        """
        umask = self._run.umask
        while self._file is None and self._run.refusal is None:
            try:
                self._directory, self._file = await self.on_thread(lambda: self._open(umask))
                self.recovered()
            except RefusedError as error:
                self.refuse(error.refusal)
            except OSError as error:
                if is_environment_fault(error):
                    raise
                await self.wait_out(error)
                if gives_up is not None and gives_up():
                    break
            except Exception as error:
                if is_environment_fault(error):
                    raise
                # A defect: this run suffers, and its records are counted.
                _logger.exception("run %s", self._run.path)
                text = f"run {self._run.path}: defect of the daemon: {error!r}"
                self.refuse(Refusal(pb.RUN_REFUSED, text))
        return self._file is not None

    def _open(self, umask: int | None) -> tuple[RunDirectory, LiveFile]:
        """Opens the directory, and finds out what its files hold. On a thread."""
        self._descriptors.add_directory()
        try:
            with self._hangs.call():
                directory = self._roots.open_run(self._run.path, umask=umask)
            try:
                return directory, self._open_file(directory, self._hangs.call)
            except BaseException:
                directory.close()
                raise
        except BaseException:
            self._descriptors.remove_directory()
            raise

    async def on_thread(self, call: Callable[[], _Result], *, is_brief: bool = False) -> _Result:
        """Returns what ``call`` returns on a thread, or raises what it raises."""
        loop = asyncio.get_running_loop()
        try:
            with self._hangs.watching():
                if is_brief:
                    return await self._brief_calls.run(call, self._run.owner)
                return await loop.run_in_executor(self._threads, call)
        finally:
            if self._run.progress.trouble == _HANGS:
                self.recovered()

    def append_once(self, events: bytes | Sequence[bytes], parts: Sequence[Part]) -> None:
        """Appends encoded records, or goes on with an append that raised. On a thread.

        ``parts`` has a sequence number for each of them, in their order.

        Raises ``OSError``; go on with ``append`` then, which tries again.
        """
        file, directory = self._file, self._directory
        if file is None or directory is None:
            raise RuntimeError(f"{self._run.path} is not open")
        with self._hangs.call():
            _check_own(self._run)
            if events:
                self._check_current(directory)
        with self._hangs.call(), self._descriptors.using(file):
            if file.pending_bytes:
                file.resume()
            else:
                directory.check_room()
                file.append(events, parts)

    async def append(
        self,
        events: bytes | Sequence[bytes],
        parts: Sequence[Part],
        embedding: EmbeddingFiles | None = None,
        earlier: OSError | None = None,
    ) -> int:
        """Returns once all is written, however long that takes, or the run is refused.

        ``embedding`` is written before ``events``, in the same directory. After a failed try it
        is written anew and whole, the events from where they broke off. ``earlier`` is how
        ``append_once`` failed with the same events. Returns the bytes of the embedding's files.

        Raises ``RefusedError`` if the embedding cannot be written here.
        """
        if earlier is not None:
            await self.wait_out(earlier)
        files_bytes = 0
        files_in: RunDirectory | None = None
        while await self.open():
            try:
                if embedding is not None and files_in is not self._directory:
                    files_bytes = await self.on_thread(partial(self._write_embedding, embedding))
                    files_in = self._directory
                await self.on_thread(lambda: self.append_once(events, parts))
            except OSError as error:
                await self.wait_out(error)
            else:
                break
        self.appended()
        return files_bytes

    def appended(self) -> None:
        """Notes that an append succeeded."""
        self.recovered()
        if self._file is not None and self._file.path is not None:
            self._run.progress.file = self._file.path.name
            self._on_written(self._run)

    def recovered(self) -> None:
        """Notes that nothing holds the run up any more."""
        if self._run.progress.trouble:
            _logger.info("run %s goes on", self._run.path)
            self._run.progress.trouble = ""

    async def sync(self) -> SyncResult:
        """Makes all that was appended durable. Returns whether it can be.

        What never will be is noted in ``RunProgress.sync_failures``, and flushes tell it.
        """
        if self._file is None:
            return SyncResult(ok=True)
        written_bytes = self._run.progress.written_bytes
        try:
            await self.on_thread(self.sync_once)
            self._run.progress.note_synced(written_bytes)
        except SyncFailedError as error:
            self._note_lost(str(error))
        except OSError as error:
            return SyncResult(ok=False, reason=str(error))
        return SyncResult(ok=True)

    def sync_once(self) -> None:
        """Makes all that was appended durable, as ``LiveFile.sync``. On a thread."""
        if self._file is not None:
            with self._hangs.call(), self._descriptors.using(self._file):
                self._file.sync()

    def _finish(self, file: LiveFile) -> None:
        with contextlib.suppress(OSError), self._hangs.call(), self._descriptors.using(file):
            file.finish()

    async def close(self) -> None:
        """Makes all that was appended durable, and closes file and directory."""
        if self._file is not None:
            await self.on_thread(partial(self._finish, self._file))
        result = await self.sync()
        if not result.ok:
            self._note_lost(result.reason)
        await self.on_thread(self._abandon)

    def _note_lost(self, what: str) -> None:
        _logger.error("run %s: %s", self._run.path, what)
        self._run.progress.note_lost(what)

    def _write_embedding(self, embedding: EmbeddingFiles) -> int:
        if self._directory is None:
            raise RuntimeError(f"{self._run.path} is not open")
        with self._hangs.call():
            _check_own(self._run)
            self._check_current(self._directory)
            return write_embedding(self._directory, embedding)

    def _check_current(self, directory: RunDirectory) -> None:
        if not directory.is_current():
            # Somebody removed the directory of a live run: it is made anew, and
            # what was half written went with the old one.
            self._abandon()
            self._note_lost("the directory was removed or replaced")
            raise FileNotFoundError(f"{self._run.path}: the directory was removed or replaced")

    def _abandon(self) -> None:
        file, self._file = self._file, None
        directory, self._directory = self._directory, None
        with self._hangs.call():
            try:
                if file is not None:
                    self._descriptors.close(file)
            except OSError as error:
                self._note_lost(f"close: {error}")
            finally:
                if directory is not None:
                    directory.close()
                    self._descriptors.remove_directory()

    def refuse(self, refusal: Refusal) -> None:
        """Closes the run, which cannot be written."""
        _logger.warning("run refused: %s", refusal.message)
        self._run.refusal = refusal
        self._abandon()
        self._on_refused(self._run)

    def _hang(self) -> None:
        if not self._run.progress.trouble:
            _logger.error("run %s is held up: %s", self._run.path, _HANGS)
            self._run.progress.trouble = _HANGS

    async def wait_out(self, error: OSError) -> None:
        """Notes what holds the run up, and waits before the next try, unless it is refused."""
        if isinstance(error, _NotOwnError):
            self.refuse(error.refusal)
            return
        if not self._run.progress.trouble:
            _logger.error("run %s is held up: %s", self._run.path, error)
        self._run.progress.trouble = str(error)
        await asyncio.sleep(self._retry_secs)


def _check_own(run: RunState) -> None:
    """Raises ``OSError`` if the run is another daemon's, or if that is not to be known."""
    try:
        run.contents.check_own()
    except RefusedError as error:
        raise _NotOwnError(error.refusal) from error


def _open_event_file(run: RunState, directory: RunDirectory, reading: Reading) -> LiveFile:
    recover(directory, run.contents, reading)
    marks = MarkWriter(run.contents, time.time)
    with reading():
        if directory.segments is not None:  # those that are there are whole
            directory.segments.left(newest_event_file(directory.fd))
        return EventFile(directory, filename_suffix=run.filename_suffix, marks=marks)
