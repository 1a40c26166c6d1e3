"""The one writer of one run directory.

A task for each directory takes the run's parts in call order, lets reductions
finish in any order behind it, and appends what is ready at the head. Encoding
and file I/O happen on the pool's threads, one call at a time for a run.

A record with side files is written by itself: the files, then its events, and only
then does the record count as written. Both are written again where they failed,
the files whole, the events from where they broke off.

Trouble with the disk holds records up and loses none: the append is tried again
every ``RETRY_SECS``, the text shows in the run's status, and the intake budget
stops the clients' streams once they have filled it. A run whose directory is
refused has its records rejected; other runs do not notice either.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from boardd_protos import boardd_pb2 as pb

from boardd.core.order import Order
from boardd.core.refusals import Refusal, RefusedError
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import DropPart, EndPart, RunPart, ScalarPart, SummaryPart
from boardd.events.embedding import EmbeddingFiles
from boardd.runs.brief_calls import BriefCalls
from boardd.runs.embedding_files import write_embedding
from boardd.runs.encode import Encoded, encode_drops, encode_scalar_part, encode_summary
from boardd.runs.event_file import EventFile
from boardd.runs.logdir import Roots, RunDirectory
from boardd.runs.reduction_pool import Reduced, ReductionPool, RunReductions
from boardd.summaries.reduction import EncodedSummary, SummaryError

_logger = logging.getLogger(__name__)

#: Between tries of what the disk has refused, in seconds.
RETRY_SECS: Final = 1.0
#: One append takes so many scalars and so many bytes at most, about.
APPEND_RECORDS: Final = 1 << 16
APPEND_BYTES: Final = 16 << 20
#: So small an append is brief: it shares a thread with those of other runs.
BRIEF_BYTES: Final = 64 << 10

_Result = TypeVar("_Result")


class Outcomes(Protocol):
    """Where parts and runs come back to; called on the event loop."""

    def finish(self, part: RunPart, written_bytes: int) -> None:
        """The events of ``part`` are written."""

    def reject(self, part: RunPart, reason: int, message: str) -> None:
        """``part`` cannot be written."""

    def recharge(self, part: RunPart, size_bytes: int) -> None:
        """``part`` now holds ``size_bytes``."""

    def refuse(self, run: RunState) -> None:
        """``run`` cannot be written; ``run.refusal`` says why."""


class _Reduced:
    """A summary record, and what it was reduced to or why it cannot be."""

    __slots__ = ("has_files", "part", "result", "size_bytes")

    def __init__(self, part: SummaryPart, result: EncodedSummary | SummaryError) -> None:
        self.part = part
        self.result = result
        self.size_bytes, self.has_files = 0, False
        if isinstance(result, EncodedSummary):
            self.size_bytes, self.has_files = result.size_bytes, result.embedding is not None


@dataclass(eq=False)
class _Sync:
    """A request to make all that came before it durable; the result says why not."""

    done: asyncio.Future[str]


_Item = ScalarPart | DropPart | EndPart | _Reduced | _Sync


class RunWriter:
    """Writes one run; see the module. For the event loop's thread only.

    Small appends go to ``brief_calls``, all else that touches files to ``threads``.
    ``reductions`` turns summaries into events. ``on_idle`` is called when nothing is
    left to do and no file is open.
    """

    def __init__(
        self,
        run: RunState,
        roots: Roots,
        threads: Executor,
        brief_calls: BriefCalls,
        outcomes: Outcomes,
        reductions: ReductionPool,
        on_idle: Callable[[RunWriter], None],
        retry_secs: float = RETRY_SECS,
    ) -> None:
        self.run = run
        self._roots = roots
        self._threads = threads
        self._brief_calls = brief_calls
        self._outcomes = outcomes
        self._reductions = reductions
        self._on_idle = on_idle
        self._retry_secs = retry_secs
        self._order: Order[_Item] = Order()
        self._reducing = RunReductions()
        self._wake = asyncio.Event()
        self._directory: RunDirectory | None = None
        self._file: EventFile | None = None
        self.task = asyncio.get_running_loop().create_task(self._work(), name=f"run {run.path}")

    # Called by the table of runs

    def admit(self, *parts: RunPart) -> None:
        """Takes the next parts of the run."""
        summaries: list[tuple[int, SummaryPart]] = []
        for part in parts:
            if isinstance(part, SummaryPart):
                summaries.append((self._order.draw(), part))
            elif isinstance(part, (ScalarPart, DropPart, EndPart)):
                self._order.append(part)
                self._wake.set()
            else:
                raise TypeError(f"no kind of part: {part!r}")
        if summaries:
            self._reductions.add(self._reducing, summaries, self._take_results)

    async def sync(self) -> str:
        """Waits until all that was admitted is durable. Returns why not, or an empty text."""
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._order.append(_Sync(done))
        self._wake.set()
        return await done

    def abandon(self) -> None:
        """Stops without waiting; for a daemon that must leave now.

        Files stay open: a thread may be writing them.
        """
        self.task.cancel()

    def _take_results(self, results: Iterable[Reduced]) -> None:
        for ticket, part, result in results:
            part.payload, part.tensors, part.maps = b"", {}, None
            reduced = _Reduced(part, result)
            self._outcomes.recharge(part, reduced.size_bytes)
            self._order.complete(ticket, reduced)
        self._wake.set()

    # The task

    async def _work(self) -> None:
        try:
            await self._open(is_needed=False)
            while len(self._order) or self._file is not None:
                if self._order.ready:
                    items = self._gather()
                    size_bytes = sum(
                        item.size_bytes for item in items if isinstance(item, _Reduced)
                    )
                    await self._advance(items)
                    if size_bytes:
                        self._reductions.written(self._reducing, size_bytes)
                else:
                    self._wake.clear()
                    await self._wake.wait()
        finally:
            self._on_idle(self)

    def _gather(self) -> deque[_Item]:
        """Takes what is ready: events up to a bound, or one item that is handled by itself."""
        items: deque[_Item] = deque()
        records = size_bytes = 0
        while self._order.ready and records < APPEND_RECORDS and size_bytes < APPEND_BYTES:
            head = self._order.peek()
            alone = isinstance(head, (EndPart, _Sync)) or (
                isinstance(head, _Reduced) and head.has_files
            )
            if alone and items:
                break
            item = self._order.release()
            items.append(item)
            if alone:
                break
            part = item.part if isinstance(item, _Reduced) else item
            if isinstance(part, RunPart):
                records += part.records
                size_bytes += part.size_bytes
        return items

    async def _advance(self, items: deque[_Item]) -> None:
        try:
            if isinstance(items[0], EndPart):
                if not self.run.holders:
                    await self._close()
                self._outcomes.finish(_taken(items), 0)
            elif isinstance(items[0], _Sync):
                why = await self._sync()
                _answer(items.popleft(), why)
            else:
                await self._write(items)
        except Exception as error:  # a defect: these records suffer, the daemon goes on
            _logger.exception("run %s", self.run.path)
            self._reject(items, pb.REDUCTION_FAILED, f"defect of the daemon: {error!r}")

    async def _write(self, items: deque[_Item]) -> None:
        encoded: list[Encoded] = []
        files_bytes = 0
        if await self._open():
            # The common case in one go: to another thread and back is what costs.
            on_thread = self._brief_calls.run if _is_brief(items) else self._on_thread
            encoded, error = await on_thread(lambda: self._encode_and_append(items))
            try:
                files_bytes = await self._finish_append(encoded, error)
            except RefusedError as reason:  # it came alone
                encoded = [Encoded(error=SummaryError(reason.reason, str(reason)))]
                self._recovered()
        if self._file is None:
            refusal = self.run.refusal
            self._reject(items, pb.RUN_REFUSED, refusal.message if refusal is not None else "")
            return
        self.run.progress.steps_backwards = self.run.contents.steps.backwards
        for one in encoded:
            part = _taken(items)
            if one.error is not None:
                self._outcomes.reject(part, one.error.reason, str(one.error))
                continue
            for refused in one.refused:
                piece = part.split_off(refused.sequence, refused.records, refused.last_sequence)
                self._outcomes.reject(piece, refused.reason, refused.message)
            written_bytes = len(one.events) + files_bytes
            self.run.progress.written_bytes += written_bytes
            self._outcomes.finish(part, written_bytes)

    def _encode_and_append(self, items: deque[_Item]) -> tuple[list[Encoded], OSError | None]:
        """Returns what is written for ``items``, and why it could not be. Without side files."""
        encoded = [_encode(item) for item in items]
        if encoded[0].embedding is None:
            try:
                self._append_once(b"".join(one.events for one in encoded))
            except OSError as error:
                return encoded, error
        return encoded, None

    async def _finish_append(self, encoded: list[Encoded], error: OSError | None) -> int:
        """Goes on where ``_encode_and_append`` ended. Returns and raises as ``_append``."""
        if encoded[0].embedding is None and error is None:
            self._appended()
            return 0
        if error is not None:
            await self._wait_out(error)
        events = b"".join(one.events for one in encoded)
        return await self._append(events, encoded[0].embedding)

    async def _append(self, events: bytes, embedding: EmbeddingFiles | None) -> int:
        """Returns once all is written, however long that takes, or the run is refused.

        ``embedding`` comes before ``events``, in the same directory. Returns the
        bytes of its files. Raises ``RefusedError``.
        """
        files_bytes = 0
        files_in: RunDirectory | None = None
        while await self._open():
            try:
                if embedding is not None and files_in is not self._directory:
                    files_bytes = await self._on_thread(partial(self._write_files, embedding))
                    files_in = self._directory
                await self._on_thread(lambda: self._append_once(events))
            except OSError as error:
                await self._wait_out(error)
            else:
                break
        self._appended()
        return files_bytes

    def _appended(self) -> None:
        self._recovered()
        if self._file is not None and self._file.path is not None:
            self.run.progress.file = self._file.path.name

    def _write_files(self, embedding: EmbeddingFiles) -> int:
        if self._directory is None:
            raise RuntimeError(f"{self.run.path} is not open")
        self._check_current(self._directory)
        return write_embedding(self._directory, embedding)

    def _append_once(self, events: bytes) -> None:
        file, directory = self._file, self._directory
        if file is None or directory is None:
            raise RuntimeError(f"{self.run.path} is not open")
        if events:
            self._check_current(directory)
        if file.pending_bytes:
            file.resume()
        else:
            file.append(events)

    def _check_current(self, directory: RunDirectory) -> None:
        if not directory.is_current():
            # Somebody removed the directory of a live run: it is made anew, and
            # what was half written went with the old one.
            self._abandon_files()
            raise FileNotFoundError(f"{self.run.path}: the directory was removed")

    async def _open(self, *, is_needed: bool = True) -> bool:
        """Opens the run's directory where it is not. Returns whether it is open.

        Tries for as long as that takes, unless it is not needed: then no longer
        than until the run is ended.
        """
        while self._file is None and self.run.refusal is None:
            try:
                self._directory = await self._on_thread(lambda: self._roots.open_run(self.run.path))
                self._file = EventFile(self._directory, filename_suffix=self.run.filename_suffix)
                self._recovered()
            except RefusedError as error:
                self._refuse(error.refusal)
            except ValueError as error:
                self._refuse(Refusal(pb.INVALID_NAME, str(error)))
            except OSError as error:
                await self._wait_out(error)
                if not is_needed and self._order.ready and not self.run.holders:
                    break
        return self._file is not None

    async def _sync(self) -> str:
        if self._file is None:
            return ""
        try:
            await self._on_thread(self._file.sync)
        except OSError as error:
            return str(error)
        return ""

    async def _close(self) -> None:
        why = await self._sync()
        if why:
            _logger.error("run %s: %s", self.run.path, why)
        await self._on_thread(self._abandon_files)

    def _abandon_files(self) -> None:
        file, self._file = self._file, None
        directory, self._directory = self._directory, None
        try:
            if file is not None:
                file.close()
        except OSError as error:
            _logger.error("run %s: close: %s", self.run.path, error)
        finally:
            if directory is not None:
                directory.close()

    def _refuse(self, refusal: Refusal) -> None:
        _logger.warning("run refused: %s", refusal.message)
        self.run.refusal = refusal
        self._abandon_files()
        self._outcomes.refuse(self.run)

    async def _wait_out(self, error: OSError) -> None:
        if not self.run.progress.trouble:
            _logger.error("run %s is held up: %s", self.run.path, error)
        self.run.progress.trouble = str(error)
        await asyncio.sleep(self._retry_secs)

    def _recovered(self) -> None:
        if self.run.progress.trouble:
            _logger.info("run %s goes on", self.run.path)
            self.run.progress.trouble = ""

    def _reject(self, items: deque[_Item], reason: int, message: str) -> None:
        while items:
            if isinstance(items[0], _Sync):
                _answer(items.popleft(), message)
            else:
                self._outcomes.reject(_taken(items), reason, message)

    async def _on_thread(self, call: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)


def _taken(items: deque[_Item]) -> RunPart:
    """Takes the first of ``items``. Returns its part."""
    item = items.popleft()
    if isinstance(item, _Reduced):
        return item.part
    if isinstance(item, _Sync):
        raise TypeError("a sync has no part")
    return item


def _answer(item: _Item, why: str) -> None:
    if isinstance(item, _Sync) and not item.done.done():
        item.done.set_result(why)


def _is_brief(items: Iterable[_Item]) -> bool:
    return sum(item.size_bytes for item in items if not isinstance(item, _Sync)) <= BRIEF_BYTES


def _encode(item: _Item) -> Encoded:
    if isinstance(item, _Reduced):
        return encode_summary(item.part, item.result)
    if isinstance(item, ScalarPart):
        return encode_scalar_part(item)
    if isinstance(item, DropPart):
        return encode_drops(item)
    raise TypeError(f"no events in {item!r}")
