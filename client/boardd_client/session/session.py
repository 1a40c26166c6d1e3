"""The client's side of a session: what is defined, sent, acknowledged, lost.

A state machine without I/O. A sender tells it what happened (``opened``,
``acknowledged``, ``rejected``, ``run_refused``, ``disconnected``) and asks what
to send (``next_messages``). Trainers define series and begin captures; scalars
they append to ``ring`` directly.

Records go from *appended* to *observed* (kept for export), *sent*, and
*acknowledged*, each a sequence number that never passes the one before. A new
connection sets *sent* back to what the daemon received; nothing is freed before
it is acknowledged, so everything behind can be sent again.

Sent in this order: definitions, drop counts, and then records: where the log is
shared with the daemon, only up to where it may be read; else the frames, each
tensor in chunks before its record's frame.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from boardd_protos import MAX_PROTOCOL_VERSION, MIN_PROTOCOL_VERSION, __version__
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameKind, frame_bytes

from boardd_client.errors import CaptureError
from boardd_client.memory.arena import Arena
from boardd_client.memory.pending import Failed, Pending
from boardd_client.memory.ring import Ring
from boardd_client.memory.slots import LargeSlots, TensorSlots, element
from boardd_client.session.by_value import MESSAGE_BYTES, WINDOW_BYTES, ByValue
from boardd_client.session.captures import Capture
from boardd_client.session.counters import Counters, Rejection, Statistics, reason_name
from boardd_client.session.scalar_history import Exported, ScalarHistory, export
from boardd_client.session.schema import DefinedRun, Definitions

#: Largest stretch of frames that is looked at for exports at a time: trainers wait for that.
_OBSERVED_BYTES: Final = 1 << 17


class Session:
    """See the module. Every method may be called from any thread."""

    def __init__(
        self,
        session_id: bytes,
        ring: Ring,
        arena: Arena,
        *,
        history: ScalarHistory | None = None,
        window_bytes: int = WINDOW_BYTES,
        arena_offset: int | None = None,
        large: LargeSlots | None = None,
    ) -> None:
        """``arena_offset`` is where the arena begins in map 0; None where nothing is shared."""
        self.session_id: Final = session_id
        self.ring: Final = ring
        self.arena: Final = arena
        self.refusal = ""  #: why the daemon will not have this session, if so
        self._history = history or ScalarHistory(0)
        self.slots: Final = TensorSlots(arena, large, arena_offset)
        self._is_shareable = arena_offset is not None
        # The log's: with two locks, a signal handler that interrupts a call in one of them could
        # wait for the other for ever.
        self._lock = ring.lock
        self._is_open = False
        #: Whether the daemon of this connection reads the log itself.
        self._is_shared = False
        self._observed = 0
        self._acknowledged = 0
        self._definitions = Definitions()
        self._counters = Counters()
        self._captures: OrderedDict[int, Capture] = OrderedDict()
        self._by_value = ByValue(ring, self._captures, self._abort, window_bytes)

    # For trainers

    def define_run(self, definition: pb.RunDefinition) -> DefinedRun:
        """Adds a run; sets its number in ``definition``."""
        with self._lock:
            run = self._definitions.add_run(definition)
            self._define(pb.Definitions(runs=[definition]))
            return run

    def define_series(self, run: DefinedRun, tag: str, sub_run: str = "") -> int:
        """Adds a series to a run and returns its number; 0 when there are too many."""
        with self._lock:
            number = self._definitions.add_series(run, tag, sub_run)
            if number:
                self._define(pb.Definitions(series=[self._definitions.series(number)]))
            return number

    def end_run(self, run: DefinedRun, wall_time: float) -> int:
        """Appends the end of a run and returns its sequence number, 0 if the log is full."""
        with self._lock:
            sequence = self.ring.append(FrameKind.END_RUN, run.number, 0, wall_time, reserved=True)
            if sequence:
                self._counters.add_unlogged(sequence, run.number)
            return sequence

    def drop(
        self,
        reason: str,
        size_bytes: int = 0,
        *,
        run: DefinedRun | None = None,
        step: int = 0,
        records: int = 1,
    ) -> int:
        """Counts records that were not accepted; returns how many there are of that reason."""
        number = run.number if run is not None else 0
        with self._lock:
            return self._counters.drop(reason, size_bytes, run=number, step=step, records=records)

    def claim(
        self,
        series: int,
        step: int,
        wall_time: float,
        payload: bytes,
        sizes: Iterable[int],
        *,
        scalar_dtype: str = "",
        into: Capture | None = None,
    ) -> Capture | str:
        """Appends a pending record with slots for its tensors.

        Returns why not where there is no room: ``log_full``, ``arena_full`` or
        ``large_full``; and where there never is, ``record_too_large`` or
        ``tensor_too_large``. With ``scalar_dtype`` it becomes a scalar, of the one
        element of the one tensor. ``copies_started``, ``interrupted`` or ``abort`` must follow.

        The capture is ``into``, if given: who calls can then tell, whatever a signal handler
        raises, how far it got.
        """
        capture = into if into is not None else Capture(0, ())
        is_scalar = bool(scalar_dtype)
        if frame_bytes(len(payload)) > self.ring.largest_frame_bytes:
            return "record_too_large"
        slots = self.slots.allocate(list(sizes), is_scalar=is_scalar)
        if isinstance(slots, str):
            return slots
        capture.slots, capture.scalar_dtype = slots, scalar_dtype
        if not is_scalar:
            payload += self.slots.located(slots)
        kind = FrameKind.SCALAR if is_scalar else FrameKind.SUMMARY
        with self._lock:
            sequence = self.ring.append(
                kind, series, step, wall_time, payload, claimed=True, reserved=is_scalar
            )
            if sequence:
                capture.sequence = sequence
                self._captures[sequence] = capture
                if not is_scalar:
                    self._by_value.add_capture(sequence)
                return capture
        capture.slots = ()
        self.slots.free(slots)
        return "log_full"

    def claim_scalar(self, series: int, step: int, wall_time: float, into: Capture) -> bool:
        """Appends a pending scalar that needs no slot; False when the log is full.

        ``lazy`` of the capture must be set then, or ``interrupted`` follow.
        """
        with self._lock:
            sequence = self.ring.claim_scalar(series, step, wall_time)
            if sequence:
                into.sequence, into.scalar_dtype = sequence, "float64"
                self._captures[sequence] = into
            return sequence > 0

    def commit_scalars(self) -> str:
        """Gives all leading pending scalars their values that have come; why one was lost."""
        failure = ""
        with self._lock:
            while True:
                sequence = self.ring.first_claimed()
                capture = None if sequence is None else self._captures.get(sequence)
                if capture is None or capture.lazy is None or not capture.lazy.is_done():
                    return failure
                try:
                    value = capture.lazy.result()
                except CaptureError as error:
                    failure = str(error)
                    self._abort(capture, "CAPTURE_FAILED", failure)
                else:
                    self.ring.commit_scalar(capture.sequence, value)
                    del self._captures[capture.sequence]

    def copies_started(self, capture: Capture, pendings: list[Pending]) -> None:
        """The copies were started; those in ``pendings`` are still under way."""
        with self._lock:
            capture.pendings = pendings
            if not pendings:
                self.commit(capture)

    def interrupted(self, capture: Capture, pendings: list[Pending], error: BaseException) -> None:
        """Something raised between ``claim`` and ``copies_started``: the record is lost.

        ``pendings`` are the copies that were started and are known.
        """
        with self._lock:
            if self._captures.get(capture.sequence) is not capture:
                slots, capture.slots = capture.slots, ()
                self.slots.free(slots)
            elif capture.pendings is None and capture.lazy is None:
                if not isinstance(error, Exception):
                    # A copy may have been started that nobody knows: its slot is not used again.
                    capture.slots = ()
                capture.pendings = [*pendings, Failed(f"{type(error).__name__}: {error}")]

    # For the sender

    def next_capture(self) -> Capture | None:
        """The oldest capture that is still under way, once it has begun."""
        with self._lock:
            while True:
                sequence = self.ring.first_claimed()
                if sequence is None or sequence in self._captures:
                    break
                # A signal handler raised in ``claim``, behind the frame; this one has the lock.
                self._abort(Capture(sequence, ()), "CAPTURE_FAILED", "interrupted by a signal")
            capture = None if sequence is None else self._captures.get(sequence)
            if capture is None or (capture.pendings is None and capture.lazy is None):
                return None
            return capture

    def commit(self, capture: Capture, value: float | None = None) -> None:
        """All copies of a capture are complete."""
        with self._lock:
            if not capture.scalar_dtype:
                self.ring.commit(capture.sequence)
                return
            if value is None:
                value = element(capture.slots[0].view, capture.scalar_dtype)
            self.ring.commit_scalar(capture.sequence, value)
            self._free(capture)

    def abort(self, capture: Capture, message: str) -> None:
        """A copy failed and none is under way any more: the record is lost, and rejected."""
        self._abort(capture, "CAPTURE_FAILED", message)

    def opened(self, reply: pb.OpenReply, *, is_shared: bool = False) -> None:
        """A connection was made, and the daemon said what it has.

        ``is_shared``: it holds the maps, too, and is to read the log itself.
        """
        with self._lock:
            self._is_shared = is_shared
            self.refusal = ""
            self._acknowledge(reply.written_sequence)
            received = min(reply.received_sequence, self._by_value.highest_sent)
            sent = max(self._acknowledged, received)
            self._counters.resume(sent)
            self._definitions.tell_all()
            self._by_value.begin(sent, reply)
            self._is_open = True

    def attachment(self) -> pb.Attach:
        """What attaches the stream, once the session is opened."""
        with self._lock:
            attach = pb.Attach(session_id=self.session_id)
            if self._is_shared:
                sent = self._by_value.sent
                attach.log_from.sequence = sent
                attach.log_from.position = self.ring.position_after(sent)
            return attach

    def disconnected(self) -> None:
        """The connection is gone."""
        with self._lock:
            self._is_open = False

    def refused(self, message: str) -> None:
        """The daemon will not have this session; trying again will not help soon."""
        with self._lock:
            self.refusal = message

    def acknowledged(self, sequence: int) -> None:
        """Everything up to a sequence number is written or was rejected."""
        with self._lock:
            self._acknowledge(sequence)

    def rejected(self, message: pb.Rejected) -> DefinedRun | None:
        """Records were rejected one by one; returns the run of the first."""
        with self._lock:
            if message.reason == pb.CAPTURE_FAILED:
                return None  # noted where it failed
            run = self._run_of(message.sequence)
            records = max(message.records, 1)
            last = message.last_sequence or message.sequence + records - 1
            last = min(last, self.ring.last_sequence)
            reason = reason_name(message.reason)
            self._counters.add_rejection(
                Rejection(message.sequence, last, records, reason, message.message, run)
            )
            self._settle()
            return run

    def run_refused(self, message: pb.RunRefused) -> DefinedRun | None:
        """The daemon writes none of a run; returns the run, unless it is over."""
        with self._lock:
            run = self._definitions.run(message.run)
            if run is not None:
                run.refusal = f"{reason_name(message.reason)}: {message.message}"
            return run

    def next_messages(
        self, max_bytes: int = MESSAGE_BYTES, *, now: float = 0.0
    ) -> list[pb.ClientMessage]:
        """What to send next, ``max_bytes`` of frames and tensors at most; may be nothing.

        ``now`` is in monotonic seconds: drop counts are told only so often.
        """
        messages: list[pb.ClientMessage] = []
        with self._lock:
            if not self._is_open:
                return messages
            # Before the definitions: those of a record are made before it.
            last = self.ring.last_sequence
            self._observe(max_bytes)
            for definitions in self._definitions.untold():
                messages.append(pb.ClientMessage(definitions=definitions))
            report = self._counters.report(now)
            if report is not None:
                messages.append(pb.ClientMessage(report=report))
            last = min(last, self._observed) if self._history.is_enabled else last
            if self._is_shared:
                self._add_committed(messages, last)
            else:
                self._by_value.add_messages(messages, last, max_bytes)
        return messages

    def open_request(self, hostname: str, pid: int, program: str) -> pb.OpenRequest:
        """The message that begins or resumes this session."""
        with self._lock:
            return pb.OpenRequest(
                min_protocol_version=MIN_PROTOCOL_VERSION,
                max_protocol_version=MAX_PROTOCOL_VERSION,
                session_id=self.session_id,
                acknowledged_sequence=self._acknowledged,
                hostname=hostname,
                pid=pid,
                program=program,
                client_version=__version__,
            )

    # For anyone

    @property
    def acknowledged_sequence(self) -> int:
        """Records up to this one are written or rejected."""
        return self._acknowledged

    @property
    def is_window_full(self) -> bool:
        """Whether nothing more is sent before something is acknowledged."""
        return self._by_value.is_window_full

    @property
    def is_drained(self) -> bool:
        """Whether nothing is left to be written."""
        return self._acknowledged >= self.ring.last_sequence

    def statistics(self) -> Statistics:
        """A snapshot of the counts."""
        with self._lock:
            return self._counters.statistics(
                self.ring.last_sequence,
                self._acknowledged,
                sent_bytes=self._by_value.sent_bytes,
                log=(self.ring.used_bytes, self.ring.size_bytes),
                arena=(self.arena.used_bytes, self.arena.size_bytes),
                transport=("shared" if self._is_shared else "by value") if self._is_open else "",
            )

    def export_scalars(self, names: Mapping[int, str]) -> tuple[Exported, int]:
        """The scalars of the series in ``names``, and how many of any series are lost.

        Ends before the first record that is still being captured.
        """
        with self._lock:
            while self._observe(MESSAGE_BYTES):
                pass
            blocks, lost = self._history.blocks(), self._history.lost
        return export(blocks, names), lost  # not under the lock: calls would wait for it

    def clear_scalars(self, series: Iterable[int]) -> None:
        """Forgets what ``export_scalars`` would return for some series."""
        with self._lock:
            while self._observe(MESSAGE_BYTES):
                pass
            self._history.clear(series)

    def release(self) -> None:
        """Lets go of the memory of log and arena, when all is written and nobody logs any more.

        Counts and what ``export_scalars`` returns stay.
        """
        with self._lock:
            while self._observe(MESSAGE_BYTES):
                pass
            self.ring.release()
            self.arena.release()

    # Parts

    def _define(self, definitions: pb.Definitions) -> None:
        """Writes definitions to the log, too, where the daemon finds them if this process dies.

        All are told by message as well: a next daemon has not read what is freed here.
        """
        if not self._is_shareable:
            return
        payload = definitions.SerializeToString()
        sequence = self.ring.append(FrameKind.DEFINITIONS, 0, 0, 0.0, payload, reserved=True)
        if sequence:
            self._counters.add_unlogged(sequence)

    def _add_committed(self, messages: list[pb.ClientMessage], last: int) -> None:
        """Lets the daemon read the log up to the last frame that is whole."""
        last = min(last, self.ring.readable())
        if last <= self._by_value.sent:
            return
        position = self.ring.position_after(last)
        messages.append(
            pb.ClientMessage(committed=pb.LogPosition(sequence=last, position=position))
        )
        self._by_value.committed(last)

    def _observe(self, max_bytes: int) -> bool:
        if not self._history.is_enabled:
            self._observed = self.ring.last_sequence
            return False
        frames, last = self.ring.read(
            self._observed, self.ring.last_sequence, min(max_bytes, _OBSERVED_BYTES)
        )
        if last == self._observed:
            return False
        self._history.observe(frames, last - self._observed)
        self._observed = last
        return True

    def _acknowledge(self, sequence: int) -> None:
        sequence = min(sequence, self._by_value.highest_sent)
        if sequence <= self._acknowledged:
            return
        self._acknowledged = sequence
        self._by_value.acknowledged(sequence)
        while self._captures:
            first = next(iter(self._captures))
            if first > sequence:
                break
            self._free(self._captures[first])
        self._settle()
        self.ring.free(sequence)

    def _settle(self) -> None:
        for run in self._counters.settle(self._acknowledged):
            self._definitions.remove_run(run)

    def _abort(self, capture: Capture, reason: str, message: str) -> None:
        with self._lock:
            run = self._run_of(capture.sequence)
            self.ring.abort(capture.sequence, message)
            self._free(capture)
            sequence = capture.sequence
            self._counters.add_rejection(
                Rejection(sequence, sequence, 1, reason, message, run, is_local=True)
            )

    def _free(self, capture: Capture) -> None:
        self._captures.pop(capture.sequence, None)
        self.slots.free(capture.slots)

    def _run_of(self, sequence: int) -> DefinedRun | None:
        return self._definitions.run_of(self.ring.target_of(sequence) or 0)
