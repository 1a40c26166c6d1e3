"""Which records of a session are done: written, or rejected and counted.

All up to ``acknowledged_sequence`` are. If runs are held up, so are all up to
``through_sequence`` but those that are parked; the ring holds what comes after.

No I/O, no clock, no thread. Any thread may ask; the session locks for the rest.
"""

from __future__ import annotations

from typing import Final

from boardd_protos import boardd_pb2 as pb

from boardd_client.memory.arena import Arena
from boardd_client.memory.drop_reason import DropReason
from boardd_client.memory.parked_frames import ParkedFrames
from boardd_client.memory.ring import Ring
from boardd_client.session.claims import Claims
from boardd_client.session.counters import Counters
from boardd_client.session.outgoing import Outgoing
from boardd_client.session.parked import Parked
from boardd_client.session.schema import DefinedRun, Schema

#: One part in so many of the ring, and of the arena, is for what is parked of one run. A run
#: that has filled it takes no more records; all runs together may fill twice as much.
PARKED_SHARE: Final = 4


class Done:
    """See the module. Gives back the memory of what is done."""

    def __init__(
        self,
        ring: Ring,
        arena: Arena,
        claims: Claims,
        schema: Schema,
        counters: Counters,
        outgoing: Outgoing,
        parked: ParkedFrames | None = None,
    ) -> None:
        self.acknowledged_sequence = 0
        self.through_sequence = 0
        self._memory = parked or ParkedFrames.private(ring.size_bytes)
        self.parked: Final = Parked(self._memory)
        self._ring = ring
        self._most_bytes = ring.size_bytes // PARKED_SHARE, arena.size_bytes // PARKED_SHARE
        self._claims = claims
        self._schema = schema
        self._counters = counters
        self._outgoing = outgoing
        self._told = pb.Acknowledged()
        self._looked_at = 0, 0, 0  # count and bytes of what is parked, when runs were stopped

    @property
    def waiting_frames(self) -> int:
        """How many frames are not done."""
        return self.parked.count + self._ring.last_sequence - self.through_sequence

    def is_written(self, run: DefinedRun, sequence: int) -> bool:
        """Whether all records of ``run`` up to ``sequence`` are done."""
        with self._ring.lock:
            if self.acknowledged_sequence >= sequence:
                return True
            is_read = self.through_sequence >= sequence
            return is_read and not self.parked.has_any(run.number, sequence)

    def trouble(self, run: DefinedRun) -> str:
        """Why ``run`` is held up, for people; empty if it is not, or if that is not known."""
        told = self._told
        return next((held.trouble for held in told.held if held.run == run.number), "")

    def freed(self, reason: DropReason) -> int:
        """Changes when a record that was dropped for ``reason`` may find room after all."""
        if reason is DropReason.LOG_FULL:
            return self._ring.freed_sequence
        if reason is DropReason.RUN_HELD_UP:
            return self.acknowledged_sequence
        return self._claims.freed

    def hear(self, message: pb.Acknowledged) -> None:
        """The daemon says what is done."""
        self._counters.rejected.covered()
        self._told = message
        self.advance(message.written_sequence)

    def resume(self, written_sequence: int) -> None:
        """A daemon, maybe another one, says up to where all is done that was heard of."""
        self._told = pb.Acknowledged()
        # Else what is counted would end inside of what is not: the stream will say it.
        if not self._counters.rejected.are_uncounted:
            self.advance(written_sequence)

    def advance(self, done: int = 0) -> None:
        """All up to ``done`` is done, as far as it was sent; before, it may have been less."""
        sequence = self._counters.rejected.outside(self._outgoing.done(done))
        sequence = max(sequence, self.acknowledged_sequence)
        told = self._told
        held = {run.run: run.first_sequence for run in told.held}
        is_new = (sequence, held) != (self.acknowledged_sequence, self.parked.held)
        if not is_new and not self._counters.rejected.are_uncounted:
            return
        self.acknowledged_sequence = sequence
        self._memory.acknowledged(sequence)
        self._claims.acknowledged(sequence)
        self.parked.settle(sequence, told.settled_sequence, held)
        self._let_go()
        self._reach(max(self.through_sequence, sequence))

    def park(self) -> None:
        """Lets go of what of parked frames is done, and parks those of held-up runs.

        Some at a time: calls wait for the lock, which the caller must not hold.
        """
        is_parking = True
        while is_parking:
            with self._ring.lock:
                is_parking = self._park_some()

    def release(self) -> None:
        """Lets go of the memory."""
        self._memory.release()

    def _park_some(self) -> bool:
        """Returns False if nothing is left."""
        if self._let_go():
            self._reach(self.through_sequence)
            return True
        settled = self._settled_sequence()
        if settled <= self.through_sequence or self._outgoing.is_resending:
            self._stop_runs()
            return False
        data, last = self._ring.read(self.through_sequence, settled, self.parked.turn_bytes)
        taken = None
        if last > self.through_sequence:
            taken = self.parked.take(data, self._schema.runs_of, self._claims.tensor_bytes_of)
        if taken is None:
            self._stop_runs()
            return False
        last, done = taken
        for number in done:
            self._claims.done(number)
        if last:
            self._reach(last)
        return True

    def _let_go(self) -> bool:
        """Gives back the memory of some of what is parked and done; False if of nothing."""
        done = self.parked.let_go()
        for number in done or ():
            self._claims.done(number)
        return done is not None

    def _settled_sequence(self) -> int:
        """Up to where what is not parked is done; 0 if nobody would gain by parking."""
        settled = self._told.settled_sequence
        if not settled or not self._schema.has_other_than(self.parked.held):
            return 0
        return self._counters.rejected.outside(self._outgoing.sent_until(settled))

    def _reach(self, sequence: int) -> None:
        self.through_sequence = sequence
        self._outgoing.acknowledged(sequence)
        for run in self._counters.settle(sequence, self.parked.has):
            self._schema.remove_run(run)
        self._ring.free(sequence)

    def _stop_runs(self) -> None:
        """Lets runs take no more records that have filled what may be parked, and others go on."""
        tensor_bytes = self.parked.tensor_bytes
        looked_at = self.parked.count, self.parked.size_bytes, sum(tensor_bytes.values())
        if looked_at == self._looked_at:
            return
        self._looked_at = looked_at
        most_bytes, most_tensor_bytes = self._most_bytes
        is_full = looked_at[1] >= 2 * most_bytes or looked_at[2] >= 2 * most_tensor_bytes
        for run in self._schema.runs():
            own, own_tensors = self.parked.bytes_of(run.number), tensor_bytes[run.number]
            # Goes on at the half of it, or it would stop again at once.
            share = 2 if run.is_held_up else 1
            run.hold_up(
                is_held_up=own * share >= most_bytes
                or own_tensors * share >= most_tensor_bytes
                or (is_full and own + own_tensors > 0)
            )
