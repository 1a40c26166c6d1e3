"""Records that are claimed: numbered, in the ring, and not complete yet.

Training threads claim them and start their copies; the sender commits or aborts them
when the copies have ended. The slots of a record's tensors stay its own until it is
acknowledged.

No I/O, no clock, no thread. Every method may be called from any thread.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Final

from boardd_protos.dtypes import element
from boardd_protos.frame import FrameKind, frame_bytes

from boardd_client.errors import CaptureError
from boardd_client.memory.drop_reason import DropReason
from boardd_client.memory.pending import Failed, Pending
from boardd_client.memory.ring import Ring
from boardd_client.memory.slots import TensorSlots
from boardd_client.session.captures import Capture
from boardd_client.session.counters import Counters
from boardd_client.session.losses import Loss, LossReason
from boardd_client.session.schema import Schema


class Claims:
    """The captures of one session; those that are lost are counted."""

    def __init__(self, ring: Ring, slots: TensorSlots, schema: Schema, counters: Counters) -> None:
        #: By sequence number, from the claim to the acknowledgement.
        self.captures: Final[OrderedDict[int, Capture]] = OrderedDict()
        #: Records with tensors that this connection's daemon was not sent, by number, in order.
        self.unsent: deque[int] = deque()
        #: Records so far whose tensors' room was given back.
        self.freed = 0
        self._ring = ring
        self._lock = ring.lock
        self._slots = slots
        self._schema = schema
        self._counters = counters

    # For trainers

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
        """Appends a claimed record of ``kind`` with slots for its tensors, of ``sizes`` bytes.

        Returns why not if there is no room. With ``scalar_dtype`` the record is a scalar,
        of the one element of the one tensor. ``copies_started``, ``interrupted`` or
        ``abort`` must follow.

        The capture is ``into``, if given: the caller can then tell how far the claim got,
        whatever a signal handler raises.
        """
        capture = into if into is not None else Capture(0, ())
        is_scalar = bool(scalar_dtype)
        if frame_bytes(len(payload)) > self._ring.largest_frame_bytes:
            return DropReason.RECORD_TOO_LARGE
        slots = self._slots.allocate(list(sizes), is_scalar=is_scalar)
        if isinstance(slots, DropReason):
            return slots
        capture.slots, capture.scalar_dtype = slots, scalar_dtype
        if not is_scalar:
            payload += self._slots.located(slots)
        if is_scalar:
            kind = FrameKind.SCALAR
        with self._lock:
            sequence = self._ring.append(
                kind, series, step, wall_time, payload, claimed=True, reserved=is_scalar
            )
            if sequence:
                capture.sequence = sequence
                self.captures[sequence] = capture
                if not is_scalar:
                    self._add_unsent(sequence)
                return capture
        capture.slots = ()
        self._slots.free(slots)
        return DropReason.LOG_FULL

    def claim_scalar(self, series: int, step: int, wall_time: float, into: Capture) -> bool:
        """Appends a claimed scalar that needs no slot; False if the ring is full.

        ``lazy`` of the capture must be set then, or ``interrupted`` follow.
        """
        with self._lock:
            sequence = self._ring.claim_scalar(series, step, wall_time)
            if sequence:
                into.sequence, into.scalar_dtype = sequence, "float64"
                self.captures[sequence] = into
            return sequence > 0

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
            if self.captures.get(capture.sequence) is not capture:
                slots, capture.slots = capture.slots, ()
                self._slots.free(slots)
            elif not capture.is_started:
                if not isinstance(error, Exception):
                    # A copy may have been started that nobody knows: its slot is not used again.
                    capture.slots = ()
                capture.pendings = [*pendings, Failed(f"{type(error).__name__}: {error}")]

    # For the sender

    def next_capture(self) -> Capture | None:
        """The oldest claimed record's capture; None if none, or if not started."""
        with self._lock:
            while True:
                sequence = self._ring.first_claimed()
                if sequence is None:
                    return None
                capture = self.captures.get(sequence)
                if capture is not None:
                    return capture if capture.is_started else None
                # A signal handler raised in ``claim``, after the frame; this one has the lock.
                self._fail(Capture(sequence, ()), "interrupted by a signal")

    def commit(self, capture: Capture, value: float | None = None) -> None:
        """All copies of a capture are complete."""
        with self._lock:
            if not capture.scalar_dtype:
                self._ring.commit(capture.sequence)
                return
            if value is None:
                value = element(capture.slots[0].view, capture.scalar_dtype)
            self._ring.commit_scalar(capture.sequence, value)
            self._free(capture)

    def commit_scalars(self) -> CaptureError | None:
        """Commits all leading claimed scalars whose values have come.

        Returns why the last one that was lost is lost; None if none was.
        """
        failure: CaptureError | None = None
        with self._lock:
            while True:
                sequence = self._ring.first_claimed()
                capture = None if sequence is None else self.captures.get(sequence)
                if capture is None or capture.lazy is None or not capture.lazy.is_done():
                    return failure
                try:
                    value = capture.lazy.result()
                except CaptureError as error:
                    failure = error.with_traceback(None)
                    self._fail(capture, str(error))
                else:
                    self._ring.commit_scalar(capture.sequence, value)
                    del self.captures[capture.sequence]

    def abort(self, capture: Capture, loss: Loss) -> None:
        """No copy is under way any more, and the record is lost."""
        with self._lock:
            self._ring.abort(capture.sequence, loss.message)
            self._free(capture)
            run = self._schema.run_of(capture.sequence)
            self._counters.rejected.lost(capture.sequence, loss, run)

    def send_after(self, sequence: int) -> None:
        """A new connection goes on behind ``sequence``; under the ring's lock."""
        self.unsent = deque(
            sorted(
                number
                for number, capture in self.captures.items()
                if number > sequence and not capture.scalar_dtype
            )
        )

    def acknowledged(self, sequence: int) -> None:
        """Gives back the slots of records up to a sequence number; under the ring's lock."""
        while self.captures:
            first = next(iter(self.captures))
            if first > sequence:
                break
            self._free(self.captures[first])

    def done(self, sequence: int) -> None:
        """Gives back the slots of one record, if it has any; under the ring's lock."""
        capture = self.captures.get(sequence)
        if capture is not None:
            self._free(capture)

    def tensor_bytes_of(self, sequence: int) -> int:
        """Bytes of the tensors of a record; under the ring's lock."""
        capture = self.captures.get(sequence)
        return 0 if capture is None else sum(len(slot.view) for slot in capture.slots)

    def _add_unsent(self, sequence: int) -> None:
        unsent = self.unsent
        unsent.append(sequence)
        if len(unsent) > 1 and unsent[-2] > sequence:  # a signal handler's came in between
            self.unsent = deque(sorted(unsent))

    def _fail(self, capture: Capture, message: str) -> None:
        self.abort(capture, Loss(LossReason.CAPTURE_FAILED, message))

    def _free(self, capture: Capture) -> None:
        self.captures.pop(capture.sequence, None)
        self._slots.free(capture.slots)
        self.freed += bool(capture.slots)
