"""The client's side of a session: what is defined, sent, acknowledged, lost.

A state machine without I/O. A sender tells it what happened (``opened``,
``acknowledged``, ``rejected``, ``run_refused``, ``disconnected``) and asks what
to send (``next_messages``). Trainers define series and claim records; scalars
they append to ``ring`` directly.

Records go from *appended* to *observed* (kept for export), *sent*, and
*acknowledged*, each a sequence number that never passes the one before. A new
connection sets *sent* back to what the daemon received; nothing is freed before
it is acknowledged, so everything after it can be sent again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameKind
from boardd_protos.reasons import reason_name

from boardd_client.errors import CaptureError
from boardd_client.memory.arena import Arena
from boardd_client.memory.definitions import KeptDefinitions
from boardd_client.memory.drop_reason import DropReason
from boardd_client.memory.parked_frames import ParkedFrames
from boardd_client.memory.pending import Pending
from boardd_client.memory.ring import Ring
from boardd_client.memory.slots import LargeSlots, TensorSlots
from boardd_client.session.by_value import MESSAGE_BYTES, WINDOW_BYTES, ByValue
from boardd_client.session.captures import Capture
from boardd_client.session.claims import Claims
from boardd_client.session.counters import Counters, Statistics
from boardd_client.session.done import Done
from boardd_client.session.latest_epoch import LatestEpoch
from boardd_client.session.losses import Loss, LossReason
from boardd_client.session.outgoing import Outgoing
from boardd_client.session.scalar_history import Exported, ScalarHistory, StepOf, export
from boardd_client.session.schema import DefinedRun, Schema


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
        definitions: KeptDefinitions | None = None,
        parked: ParkedFrames | None = None,
    ) -> None:
        """``arena_offset`` is where the arena begins in map 0; None if nothing is shared."""
        self.session_id: Final = session_id
        self.ring: Final = ring
        self.arena: Final = arena
        self.refusal = ""  #: why the daemon will not have this session, if so
        # The ring's: with two, a signal handler and another thread could wait for each other.
        self._lock = ring.lock
        self._counters = Counters()
        ring.on_lost = self._counters.rejected.interrupted
        self._schema = Schema(ring, definitions)
        self._history = history or ScalarHistory(0)
        slots = TensorSlots(arena, large, arena_offset)
        self._claims = Claims(ring, slots, self._schema, self._counters)
        by_value = ByValue(ring, self._claims, window_bytes)
        #: What is sent, and what the daemon takes.
        self.outgoing: Final = Outgoing(
            ring, by_value, self._claims, self._schema, self._counters, self._history
        )
        #: Which records are written or rejected.
        self.done: Final = Done(
            ring, arena, self._claims, self._schema, self._counters, self.outgoing, parked
        )

    # For trainers

    def define_run(
        self, definition: pb.RunDefinition, latest_epoch: LatestEpoch | None = None
    ) -> DefinedRun:
        """Adds a run; sets its number in ``definition``, and raises ``latest_epoch`` to its own."""
        with self._lock:
            return self._schema.add_run(definition, latest_epoch or LatestEpoch())

    def define_series(self, run: DefinedRun, tag: str, sub_run: str = "", reduce: str = "") -> int:
        """Adds a series to a run and returns its number; 0 if there are too many."""
        with self._lock:
            return self._schema.add_series(run, tag, sub_run, reduce)

    def end_run(self, run: DefinedRun, wall_time: float) -> int:
        """Appends the end of a run and returns its sequence number, 0 if the ring is full."""
        with self._lock:
            sequence = self.ring.append(FrameKind.END_RUN, run.number, 0, wall_time, reserved=True)
            if sequence:
                self._counters.add_unlogged(sequence, run.number)
            return sequence

    def drop(
        self,
        reason: DropReason,
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
        scalar_dtype: str = "",
        into: Capture | None = None,
        kind: FrameKind = FrameKind.SUMMARY,
    ) -> Capture | DropReason:
        """See ``Claims``."""
        return self._claims.claim(series, step, wall_time, payload, sizes, scalar_dtype, into, kind)

    def claim_scalar(self, series: int, step: int, wall_time: float, into: Capture) -> bool:
        """See ``Claims``."""
        return self._claims.claim_scalar(series, step, wall_time, into)

    def copies_started(self, capture: Capture, pendings: list[Pending]) -> None:
        """See ``Claims``."""
        self._claims.copies_started(capture, pendings)

    def interrupted(self, capture: Capture, pendings: list[Pending], error: BaseException) -> None:
        """See ``Claims``."""
        self._claims.interrupted(capture, pendings, error)

    # For the sender

    def next_capture(self) -> Capture | None:
        """See ``Claims``."""
        return self._claims.next_capture()

    def commit(self, capture: Capture, value: float | None = None) -> None:
        """See ``Claims``."""
        self._claims.commit(capture, value)

    def commit_scalars(self) -> CaptureError | None:
        """See ``Claims``."""
        return self._claims.commit_scalars()

    def abort(self, capture: Capture, message: str) -> None:
        """A copy failed and none is under way any more: the record is lost, and rejected."""
        self._claims.abort(capture, Loss(LossReason.CAPTURE_FAILED, message))

    def opened(self, reply: pb.OpenReply, *, is_shared: bool = False) -> None:
        """A connection was made, and the daemon said what it has.

        ``is_shared``: it holds the maps, too, and is to read the ring itself.
        """
        with self._lock:
            self.refusal = ""
            self.outgoing.begin(
                reply, self.done.through_sequence, self.done.parked, is_shared=is_shared
            )
            self.done.resume(reply.written_sequence)
        self.done.park()

    def attachment(self) -> pb.Attach:
        """What attaches the stream, once the session is opened."""
        with self._lock:
            return self.outgoing.attachment(self.session_id)

    def disconnected(self) -> None:
        """The connection is gone."""
        with self._lock:
            self.outgoing.end()

    def refused(self, message: str) -> None:
        """The daemon will not have this session; trying again will not help soon."""
        with self._lock:
            self.refusal = message

    def acknowledged(self, message: pb.Acknowledged) -> None:
        """Records are written or were rejected."""
        with self._lock:
            self.done.hear(message)
        self.done.park()

    def rejected(self, message: pb.Rejected) -> DefinedRun | None:
        """Records were rejected one by one; returns a run of theirs."""
        with self._lock:
            runs = self._schema.runs_of_rejected(message)
            self._counters.rejected.add(message, self.ring.last_sequence, runs)
            return runs[0] if runs else None

    def run_refused(self, message: pb.RunRefused) -> DefinedRun | None:
        """The daemon writes none of a run, or of one directory of it.

        Returns the run, unless it is over.
        """
        with self._lock:
            run = self._schema.run(message.run)
            if run is not None and not message.sub_run:
                run.refusal = f"{reason_name(message.reason)}: {message.message}"
            return run

    def next_messages(
        self, max_bytes: int = MESSAGE_BYTES, *, now: float = 0.0
    ) -> list[pb.ClientMessage]:
        """What to send next, ``max_bytes`` of frames and tensors at most; may be nothing.

        ``now`` is in monotonic seconds: counts of drops are reported at intervals.
        """
        with self._lock:
            messages = self.outgoing.next_messages(max_bytes, now)
            self.done.advance()  # what was sent may be done already
        self.done.park()
        return messages

    def open_request(self, hostname: str, pid: int, program: str) -> pb.OpenRequest:
        """The message that begins or resumes this session."""
        with self._lock:
            return self.outgoing.open_request(
                session_id=self.session_id,
                acknowledged_sequence=self.done.acknowledged_sequence,
                hostname=hostname,
                pid=pid,
                program=program,
            )

    # For anyone

    @property
    def acknowledged_sequence(self) -> int:
        """Records up to this one are written or rejected."""
        return self.done.acknowledged_sequence

    @property
    def is_window_full(self) -> bool:
        """Whether nothing more is sent before something is acknowledged."""
        return self.outgoing.is_window_full

    @property
    def is_drained(self) -> bool:
        """Whether nothing is left to be written."""
        return self.done.acknowledged_sequence >= self.ring.last_sequence

    def statistics(self) -> Statistics:
        """A snapshot of the counts."""
        with self._lock:
            return self._counters.statistics(
                self.ring,
                self.arena,
                self.done.waiting_frames,
                sent_bytes=self.outgoing.sent_bytes,
                transport=self.outgoing.transport,
            )

    def export_scalars(
        self, names: Mapping[int, str], step_of: StepOf | None = None
    ) -> tuple[Exported, int]:
        """The scalars of ``names`` up to the first still captured; how many of all are lost."""
        with self._lock:
            self._history.follow_all(self.ring)
            blocks, lost = self._history.blocks(), self._history.lost
        return export(blocks, names, step_of), lost  # not under the lock: calls would wait for it

    def clear_scalars(self, series: Iterable[int]) -> None:
        """Forgets what ``export_scalars`` would return for some series."""
        with self._lock:
            self._history.follow_all(self.ring)
            self._history.clear(series)

    def release(self) -> None:
        """Lets go of the memory of ring and arena, when all is written and nobody logs any more.

        Counts and what ``export_scalars`` returns stay.
        """
        with self._lock:
            self._history.follow_all(self.ring)
            self.ring.release()
            self.arena.release()
            self.done.release()
