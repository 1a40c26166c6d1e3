"""Which runs hold a session up, and up to where it is done without them.

A run whose oldest record makes no progress, or whose disk is in trouble, is *held up*. What
its session sent to other runs is acknowledged past it. It stays held up until nothing is out
of what was acknowledged so.

No clock: ``look`` is told the time now and then.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import RunPart, SequenceRange
from boardd.core.session.settled import HeldRun, Settled

#: A run that wrote nothing for so long, though it had what to write, is held up. What several
#: sessions log to a run waits for each other, for less than half of this.
HELD_UP_SECS: Final = 1.0


class HeldRuns:
    """The parts of the session ``session_id`` that are out, by run; see the module."""

    def __init__(self, session_id: bytes) -> None:
        self._session_id = session_id
        self._out: dict[RunState, deque[tuple[RunPart, SequenceRange]]] = {}
        #: Parts of no record of the client's.
        self._others: Counter[RunState] = Counter()
        #: The oldest part of a run at the last look, and since when it is the oldest.
        self._oldest: dict[RunState, tuple[RunPart, float]] = {}
        self._held: set[RunState] = set()
        self._settled_sequence = 0

    def __bool__(self) -> bool:
        """Whether any run is held up."""
        return bool(self._held)

    def add(self, part: RunPart) -> None:
        """A part goes out, behind the others of its run."""
        if part.sequences is None:
            self._others[part.run] += 1
        else:
            out = self._out.get(part.run)
            if out is None:
                out = self._out[part.run] = deque()
            out.append((part, part.sequences))

    def remove(self, part: RunPart) -> None:
        """A part is back."""
        if part.sequences is None:
            self._others[part.run] -= 1
            if not self._others[part.run]:
                del self._others[part.run]
            return
        out = self._out[part.run]
        if out[0][0] is part:
            out.popleft()
        else:
            out.remove((part, part.sequences))
        if not out:
            del self._out[part.run]
            self._oldest.pop(part.run, None)
            self._held.discard(part.run)

    def is_out(self, run: RunState) -> bool:
        """Whether any part of ``run`` is out."""
        return run in self._out or run in self._others

    def has_any(self, run: RunState, sequence: int) -> bool:
        """Whether a part of ``run`` is out that has records up to ``sequence``."""
        return run in self._out and self._out[run][0][0].sequence <= sequence

    def look(self, now: float) -> bool:
        """Notes which runs are held up at ``now``, in seconds that never go back.

        Returns whether any is, or was: only then may there be something to tell.
        """
        held = set()
        for run, out in self._out.items():
            part, sequences = out[0]
            known, since = self._oldest.get(run, (None, now))
            if known is not part:
                self._oldest[run] = part, now
                since = now
            is_settled = run in self._held and sequences.first <= self._settled_sequence
            if is_settled or run.progress.trouble or now - since >= HELD_UP_SECS:
                held.add(run)
        was_any, self._held = bool(self._held), held
        return was_any or bool(held)

    def settled(self, written_sequence: int, received_sequence: int) -> Settled:
        """Up to where all is done, and all but what is out of the runs that are held up."""
        if not self._held:
            return Settled(written_sequence)
        sequence = min(
            (out[0][1].first - 1 for run, out in self._out.items() if run not in self._held),
            default=received_sequence,
        )
        self._settled_sequence = sequence = max(sequence, self._settled_sequence)
        if sequence <= written_sequence:
            return Settled(written_sequence)
        firsts: dict[int, HeldRun] = {}
        for run in self._held:
            first = self._out[run][0][1].first
            for session_id, number in run.members:
                known = firsts.get(number)
                if session_id == self._session_id and (
                    known is None or first < known.first_sequence
                ):
                    firsts[number] = HeldRun(number, first, run.progress.trouble)
        return Settled(written_sequence, sequence, tuple(firsts[run] for run in sorted(firsts)))
