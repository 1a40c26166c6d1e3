"""Passes on what the journal of one group holds, in order, until the aggregator has written it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from boardd.core.durations import Timings
from boardd.core.groups.limits import HEARTBEAT_SECS
from boardd.core.held import Held
from boardd.core.refusals import RefusedError
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import DropPart
from boardd.relay.relay import Batch, NotTakenError, Relay, RelayError
from boardd.runs.groups.group_points import Emission
from boardd.runs.journal.journal_claim import JournalClaim
from boardd.runs.journal.journal_entries import JournalError
from boardd.runs.journal.journal_reader import JournalReader
from boardd.runs.journal.relayed_entries import Relayed, encode_relayed

_Result = TypeVar("_Result")

_logger = logging.getLogger(__name__)

#: Of the entries of one batch, unless a single one is larger.
BATCH_BYTES: Final = 256 << 10
#: What journals may hold for the aggregator, unless told otherwise.
MAX_FORWARD_BYTES: Final = 4 << 30
#: Seconds between tries, at first and at last; and after a refusal.
FIRST_RETRY_SECS: Final = 0.2
LAST_RETRY_SECS: Final = 5.0
REFUSED_RETRY_SECS: Final = 15.0
#: Batches under way at once, all groups together.
_SENDS: Final = 16


class Forwarding:
    """Where the groups of this daemon are passed on to: ``relay``, told to people as ``where``.

    A few batches are under way at once, all groups together; each group has read one at most.
    Their journals may hold ``max_bytes`` that the aggregator has not written. A group that has
    nothing to send says so every ``heartbeat_secs``, so that its ranks are waited for.
    ``timings`` counts how long syncs of journals take.
    """

    def __init__(
        self,
        relay: Relay,
        where: str,
        max_bytes: int = MAX_FORWARD_BYTES,
        heartbeat_secs: float = HEARTBEAT_SECS,
        timings: Timings | None = None,
    ) -> None:
        self.relay = relay
        self.where = where
        self.max_bytes = max_bytes
        self.heartbeat_secs = heartbeat_secs
        self.timings = timings
        self.room = asyncio.Semaphore(_SENDS)
        #: By the path of a journal.
        self.held_bytes: dict[str, int] = {}

    def held(self) -> Held:
        """What journals hold for the aggregator."""
        return Held("max-forward-bytes", sum(self.held_bytes.values()), self.max_bytes)

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be held."""
        held = self.held()
        return held.held >= held.limit


class NoPoints:
    """What stands where a group has the files of its points, and shows nothing."""

    out_bytes = 0
    written = 0
    runs: tuple[RunState, ...] = ()
    is_idle = True

    def begin(self, group_id: bytes, first: int) -> None:
        """Shows nothing."""

    async def emit(self, emission: Emission, names: list[bytes]) -> None:
        """Shows nothing."""

    def tell_drops(self, part: DropPart) -> None:
        """Shows nothing; the journal has them."""

    def end(self) -> None:
        """Has no files to close."""


class Forwarder(NoPoints):
    """Sends the entries of the group of ``journal``. For the event loop's thread only.

    ``name`` is the run's directory for the aggregator. ``on_change`` is called when more is
    written there.
    """

    def __init__(
        self,
        journal: RunState,
        name: str,
        forwarding: Forwarding,
        threads: Executor,
        on_change: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._name = name
        self.forwarding = forwarding
        self._threads = threads
        self._on_change = on_change
        self._producer = b""
        #: Entries before this number may be sent; those before that one need not be kept.
        self._end = self.passed = 0
        #: The aggregator's position, as far as it has told.
        self._position = 0
        #: Why batches are not taken at present; empty: they are.
        self._held_up = ""
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # What its log calls

    @property
    def behind(self) -> int:
        """How many entries are not written there, as far as is known."""
        return max(0, self._end - self.passed)

    @property
    def has_passed_all(self) -> bool:
        """Whether the aggregator has all."""
        return not self.behind

    def restart(self, producer: bytes, directory: Path, claim: JournalClaim | None = None) -> None:
        """The journal of group ``producer`` was opened in ``directory``: goes on with that.

        It ends when another daemon takes the journal over, as ``claim`` tells.
        """
        self.stop()
        self._producer = producer
        self._end = self.passed = self._position = 0
        self._task = asyncio.get_running_loop().create_task(
            self._work(directory, claim), name=f"forward {self._journal.path}"
        )

    def advance(self, end: int) -> None:
        """All entries before number ``end`` are in the journal."""
        self._end = end
        self._tell()
        self._more.set()

    def stop(self) -> None:
        """Sends no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def leave(self) -> None:
        """Ends with its group."""
        self.forwarding.held_bytes.pop(self._journal.path, None)
        self.stop()

    # The task

    async def _work(self, directory: Path, claim: JournalClaim | None) -> None:
        """Sends until it is stopped, beginning anew when the journal cannot be read on."""
        while True:
            try:
                reader = await self._on_thread(
                    lambda: JournalReader(directory, self.forwarding.timings)
                )
                try:
                    await self._send_all(reader, claim)
                finally:
                    with contextlib.suppress(RuntimeError):  # the threads have ended
                        self._threads.submit(reader.close)
            except RefusedError as error:
                _logger.error("run %s: forwarding ends: %s", self._journal.group, error)
                return
            except (OSError, JournalError) as error:
                _logger.error("run %s: its journal cannot be read: %s", self._journal.group, error)
                await asyncio.sleep(LAST_RETRY_SECS)
            except Exception:  # a defect: this run is held up, and says so
                _logger.exception("run %s: forwarding", self._journal.group)
                await asyncio.sleep(REFUSED_RETRY_SECS)

    async def _send_all(self, reader: JournalReader, claim: JournalClaim | None) -> None:
        """Returns when entries are asked for that were passed over."""
        self._position = max(self._position, reader.oldest)
        while True:
            if await self._has_more(reader):
                batch = await self._on_thread(
                    partial(self._next_batch, reader, self._end, self._position)
                )
            else:
                batch = self._heartbeat(reader)
            if batch is not None:
                if claim is not None and claim.is_needed:
                    await self._on_thread(claim.check)
                self._position = await self._deliver(batch)
                if self._position < batch.end:
                    _logger.warning(
                        "run %s: %s has entries up to %d only; they are sent again",
                        self._journal.group,
                        self.forwarding.where,
                        self._position,
                    )
                    self._position = self.passed = 0
                    return
            self.passed = reader.next_number
            self._tell()
            self._on_change()

    async def _has_more(self, reader: JournalReader) -> bool:
        """Waits for more entries; returns False if there were none for ``heartbeat_secs``."""
        if reader.next_number >= self._end:
            self._more.clear()
            with contextlib.suppress(TimeoutError, asyncio.TimeoutError):
                await asyncio.wait_for(self._more.wait(), self.forwarding.heartbeat_secs)
        return reader.next_number < self._end

    def _heartbeat(self, reader: JournalReader) -> Batch | None:
        """A batch of no entries; None if the aggregator has none of this group's."""
        if not self._position:
            return None
        at = self._position
        return Batch(self._producer, self._name, at, at, reader.oldest, encode_relayed([], [], {}))

    def _next_batch(self, reader: JournalReader, end: int, position: int) -> Batch | None:
        """Reads on; returns what of it is to be sent, None if nothing is. On a thread."""
        sent = [
            one
            for one in reader.read(end, BATCH_BYTES)
            if one.number >= position and isinstance(one.entry, Relayed)
        ]
        if not sent:
            return None
        # After a power cut here, no entry may be another than the aggregator has.
        reader.sync()
        data = encode_relayed(sent, reader.tags, reader.members)
        last = sent[-1].number
        return Batch(self._producer, self._name, position, last + 1, reader.oldest, data)

    async def _deliver(self, batch: Batch) -> int:
        """Sends ``batch`` until it is answered; returns the position."""
        retry_secs = FIRST_RETRY_SECS
        while True:
            try:
                async with self.forwarding.room:
                    position = await self.forwarding.relay.send(batch)
            except RelayError as error:
                self._note(error)
                if isinstance(error, NotTakenError):
                    retry_secs = REFUSED_RETRY_SECS
                await asyncio.sleep(retry_secs)
                retry_secs = min(2 * retry_secs, LAST_RETRY_SECS)
            else:
                self._recovered()
                return position

    def _note(self, error: RelayError) -> None:
        if not self._held_up:
            _logger.warning("run %s: forwarding is held up: %s", self._journal.group, error)
        self._held_up = str(error)
        self._tell()

    def _recovered(self) -> None:
        if self._held_up:
            _logger.info("run %s: forwarding goes on", self._journal.group)
            self._held_up = ""

    def _tell(self) -> None:
        """Says in the run's status how far it is."""
        text = f"forwarding to {self.forwarding.where}, {self.behind} entries behind"
        held_up = f": {self._held_up}" if self._held_up else ""
        self._journal.progress.forwarding = text + held_up

    async def _on_thread(self, call: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)
