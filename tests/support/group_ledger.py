"""A group of ranks in a few lines, that its journal may be judged by.

Each session logs steps 1, 2, 3, ... to a tag of its own, several in an entry. A decision
closes a tag's points up to a step. Whatever is doubled, missing or out of order is an
``AssertionError``.
"""

from __future__ import annotations

import numpy as np
from boardd.core.groups.entries import Began, Closed, Entry, Scalars, State, Tags


def scalars(session: int, first: int, last: int) -> Scalars:
    """What session number ``session`` logs at the steps from ``first`` to ``last``."""
    steps = np.arange(first, last + 1)
    rows = np.full(len(steps), session, np.intp)
    return Scalars(bytes([session]) * 16, rows, steps, steps + 0.25, steps * 1000.0 + session)


def closed(sequence: int, session: int, step: int) -> Closed:
    one = np.array([step])
    return Closed(sequence, one, np.zeros(1, np.int64), np.array([session], np.intp))


class GroupLedger:
    """Applies entries; ``sessions`` of them log."""

    def __init__(self, sessions: int) -> None:
        self.entries = 0
        self.has_begun = False
        self.emitted = 0
        self.last = [0] * sessions
        self.frontier = [0] * sessions
        #: By session, the number of the entry of each step that is open.
        self.open: list[dict[int, int]] = [{} for _ in range(sessions)]

    def apply(self, entry: Entry) -> None:
        if isinstance(entry, State):
            assert self.entries == 0, "a state in the midst of a replay"
            self.entries = entry.numbers["entries"]
            self.emitted = entry.numbers["emitted"]
            self.has_begun = True
            self.last = entry.arrays["last"].tolist()
            self.frontier = entry.arrays["frontier"].tolist()
            return
        if isinstance(entry, Began):
            assert not self.has_begun
            self.has_begun = True
        elif isinstance(entry, Scalars):
            self._contribute(entry)
        elif isinstance(entry, Closed):
            session, step = int(entry.tag[0]), int(entry.step[0])
            assert entry.sequence == self.emitted + 1, "decisions are missing or doubled"
            self.emitted += 1
            self.frontier[session] = step
            for done in [one for one in self.open[session] if one <= step]:
                del self.open[session][done]
        else:
            raise TypeError(entry)
        self.entries += 1

    def _contribute(self, entry: Scalars) -> None:
        assert self.has_begun
        session = int(entry.tag[0])
        steps = entry.step.tolist()
        assert steps == list(range(self.last[session] + 1, self.last[session] + 1 + len(steps)))
        expected = scalars(session, steps[0], steps[-1])
        for name in ("tag", "wall_time", "value"):
            assert np.array_equal(getattr(entry, name), getattr(expected, name)), name
        assert entry.session == expected.session
        self.last[session] = steps[-1]
        self.open[session].update(dict.fromkeys(steps, self.entries))

    def state(self) -> State:
        return State(
            Began(bytes(16), len(self.last)),
            None,
            Tags(0, ()),
            (),
            {"entries": self.entries, "emitted": self.emitted},
            {"last": np.array(self.last), "frontier": np.array(self.frontier)},
        )

    @property
    def oldest_open(self) -> int:
        return min((one for tag in self.open for one in tag.values()), default=self.entries)

    def check_open(self) -> None:
        """All that is not closed is open."""
        for last, frontier, found in zip(self.last, self.frontier, self.open, strict=True):
            assert sorted(found) == list(range(frontier + 1, last + 1)), "open points are lost"
