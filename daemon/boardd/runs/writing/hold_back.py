"""Parts of a run that several sessions log to, held back until their order is known.

A worker is heard every tenth of a second or so, and what workers log in turns reaches
the daemon in stretches. So while several sessions log to a run under the same tags, its
parts wait for a moment, and are written in the order of their steps. What comes later
still is written all the same, and counted as a step backwards. A session that has just
come may log under any tag. With one session nothing waits, unless its writer was forked
or unpickled: then the run's beginning waits for its siblings.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import PurgePart, RunPart
from boardd.core.session.interleave import interleave, tags_of

#: Seconds that a part waits at most. A client sends every 0.1 s, a busy one later.
HOLD_SECS: Final = 0.4
#: Seconds in which the siblings of a forked writer are to begin: to connect takes them longer
#: than to send, and at different times.
BEGIN_SECS: Final = 1.0
#: Seconds after which a session that has used no tag of another is not waited for any more.
LATELY_SECS: Final = 60.0
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
        self._company = _Company()
        self._begins_until = asyncio.get_running_loop().time() + BEGIN_SECS

    def __len__(self) -> int:
        return len(self._parts)

    def admit(self, parts: Sequence[RunPart]) -> None:
        """Takes the next parts; releases all that need not wait."""
        if not (self._may_get_company(parts) or self._parts):
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
        if self._is_alone(self._parts):
            self._go(len(self._parts))
        if self._parts and self._timer is None:
            self._timer = loop.call_at(self._due[0], self._tick)

    def close(self) -> None:
        """Gives up what waits."""
        if self._timer is not None:
            self._timer.cancel()

    def _may_get_company(self, parts: Sequence[RunPart]) -> bool:
        """Whether records may well come that belong between those of ``parts``, which are new."""
        if self._is_alone(parts):
            return False
        logging = {session_id for session_id, _ in self._run.holders}
        now = asyncio.get_running_loop().time()
        may_come = self._company.admit(parts, logging, now)
        return may_come or self._awaits_siblings()

    def _is_alone(self, parts: Sequence[RunPart]) -> bool:
        """Whether no session can log what belongs between the records of ``parts``."""
        logging = {session_id for session_id, _ in self._run.holders}
        is_own = not logging or (
            len(logging) == 1 and logging == {part.session_id for part in parts}
        )
        return is_own and not self._awaits_siblings()

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


class _Company:
    """Which sessions of a run log under the same tags.

    Of each tag it knows the two sessions that used it last.
    """

    def __init__(self) -> None:
        #: When each session that logs was first met.
        self._met: dict[bytes, float] = {}
        self._users: dict[int, dict[bytes, float]] = {}
        #: When each session last used a tag that another had used lately, or the other did.
        self._shared: dict[bytes, float] = {}

    def admit(self, parts: Sequence[RunPart], logging: set[bytes], now: float) -> bool:
        """Notes the tags of ``parts``. Returns whether others in ``logging`` may use them, too."""
        self._met = {session_id: self._met.get(session_id, now) for session_id in logging}
        own: set[bytes] = set()
        for part in parts:
            for tag in np.unique(tags_of(part)).tolist():
                own.add(part.session_id)
                self._use(tag, part.session_id, now)
        new = {session_id for session_id, met in self._met.items() if now < met + BEGIN_SECS}
        sharing = {session_id for session_id, at in self._shared.items() if now < at + LATELY_SECS}
        self._shared = {session_id: self._shared[session_id] for session_id in sharing}
        return any(
            new - {session_id} or (session_id in sharing and sharing & logging - {session_id})
            for session_id in own
        )

    def _use(self, tag: int, session_id: bytes, now: float) -> None:
        users = self._users.setdefault(tag, {})
        users.pop(session_id, None)
        for user, used in users.items():
            if now < used + LATELY_SECS:
                self._shared[session_id] = now
                self._shared[user] = max(used, self._shared.get(user, used))
        if len(users) == 2:
            del users[next(iter(users))]
        users[session_id] = now
