"""Parts of a run that several sessions log to, held back until their order is known.

A worker is heard every tenth of a second or so, and what workers log in turns reaches
the daemon in stretches. So while several sessions log to a run, its parts wait for a
moment, and are written in the order of their steps. What comes later still is written
all the same, and counted as a step backwards. With one session nothing waits, unless
its writer was forked or unpickled: then the run's beginning waits for its siblings.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import PurgePart, RunPart
from boardd.core.session.interleave import interleave

#: Seconds that a part waits at most. A client sends every 0.1 s, a busy one later.
HOLD_SECS: Final = 0.4
#: Seconds in which the siblings of a forked writer are to begin: to connect takes them longer
#: than to send, and at different times.
BEGIN_SECS: Final = 1.0
#: Parts that would be due within this time of each other go together.
_TOGETHER_SECS: Final = 0.1


class HoldBack:
    """See the module. For the event loop's thread only.

    ``release`` takes parts of ``run`` in the order in which they are to be written; its
    length is the number of parts that wait.
    """

    def __init__(self, run: RunState, release: Callable[[Sequence[RunPart]], None]) -> None:
        self._run = run
        self._release = release
        self._parts: list[RunPart] = []
        self._due: deque[float] = deque()  # of each part, in seconds of the event loop
        self._timer: asyncio.TimerHandle | None = None
        self._begins_until = asyncio.get_running_loop().time() + BEGIN_SECS

    def __len__(self) -> int:
        return len(self._parts)

    def admit(self, parts: Sequence[RunPart]) -> None:
        """Takes the next parts; releases all that need not wait."""
        if not self._parts and not self._may_get_company(parts):
            self._release(parts)
            return
        loop = asyncio.get_running_loop()
        due = loop.time() + HOLD_SECS
        if self._awaits_siblings():
            due = max(due, self._begins_until)
        for part in parts:
            if isinstance(part, PurgePart):  # what came before it is to be written before it
                self._go(len(self._parts))
                self._release([part])
            else:
                self._parts.append(part)
                self._due.append(due)
        if not self._may_get_company(self._parts):
            self._go(len(self._parts))
        if self._parts and self._timer is None:
            self._timer = loop.call_at(self._due[0], self._tick)

    def close(self) -> None:
        """Gives up what waits."""
        if self._timer is not None:
            self._timer.cancel()

    def _may_get_company(self, parts: Sequence[RunPart]) -> bool:
        """Whether records may still come that belong between those of ``parts``."""
        logging = {session_id for session_id, _ in self._run.holders}
        if len(logging) == 1 and logging == {part.session_id for part in parts}:
            return self._awaits_siblings()
        return bool(logging) or self._awaits_siblings()

    def _awaits_siblings(self) -> bool:
        if asyncio.get_running_loop().time() >= self._begins_until:
            return False
        return any(member.has_siblings for member in self._run.members.values())

    def _tick(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        until = loop.time() + _TOGETHER_SECS
        self._go(sum(due <= until for due in self._due))
        if self._parts:
            self._timer = loop.call_at(self._due[0], self._tick)

    def _go(self, due: int) -> None:
        """Releases the first ``due`` parts, and what belongs before them."""
        if not due:
            return
        times = dict(zip(map(id, self._parts), self._due, strict=True))
        now, self._parts = interleave(self._parts, due)
        self._due = deque(times[id(part)] for part in self._parts)
        self._release(now)
