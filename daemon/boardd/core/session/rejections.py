"""Rejections to be told to a client, each until the client says that it has heard it.

A client counts a rejection with the acknowledgement that covers it, and sends what was not
acknowledged to a next daemon, which rejects it again. So no acknowledgement may fall between
the records of one rejection: see ``Settled.outside``.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from boardd_protos import boardd_pb2 as pb
from boardd_protos.printable import printable

from boardd.core.session.settled import Settled

#: Characters of a message; what a client sent may be in it.
MAX_MESSAGE: Final = 1000
#: Up to this many wait one by one for their acknowledgement; further ones are added up.
MAX_REJECTIONS: Final = 64
#: Told and not heard yet, at most: a client that never says what it heard is told once.
MAX_UNHEARD: Final = 1024


@dataclass(frozen=True)
class Rejection:
    """``records`` that are not written, the first at ``sequence``, the last at ``last_sequence``.

    Records in between may be written all the same. 0 ``records``: something of one record, which
    is written but for that. ``runs`` are the client's numbers of those
    that they were meant for; none if that is not known.
    """

    sequence: int
    records: int
    reason: int
    message: str
    last_sequence: int
    runs: tuple[int, ...] = ()

    def plus(self, other: Rejection) -> Rejection:
        """Both in one."""
        return replace(
            self,
            sequence=min(self.sequence, other.sequence),
            records=self.records + other.records,
            last_sequence=max(self.last_sequence, other.last_sequence),
            runs=tuple(sorted({*self.runs, *other.runs})) if self.runs and other.runs else (),
        )


class Unheard(NamedTuple):
    """What the client of a session that ended is still to be told."""

    last_number: int = 0
    told: tuple[tuple[int, Rejection], ...] = ()  #: by number; the client may have heard of them
    waiting: tuple[Rejection, ...] = ()

    @property
    def all(self) -> list[Rejection]:
        """All of them, in the order in which they are to be told."""
        return [*(rejection for _, rejection in self.told), *self.waiting]

    def __len__(self) -> int:
        return len(self.told) + len(self.waiting)


class Rejections:
    """What a client has not heard yet; before, it has heard those up to ``heard_number``.

    ``unheard`` is what was left of the session of that id that ended. Bounded while the client
    does not listen: past ``MAX_REJECTIONS`` a rejection is added to another of the same
    reason, of the same runs if there is one.
    """

    def __init__(self, heard_number: int = 0, unheard: Unheard | None = None) -> None:
        unheard = unheard or Unheard()
        self._last_number = unheard.last_number
        self._told = deque(unheard.told)
        self._untold = len(self._told)  # of ``_told``, how many this stream was not told yet
        self._waiting = list(unheard.waiting)
        self.resume(heard_number)

    @property
    def are_waiting(self) -> bool:
        """Whether any waits for the acknowledgement that covers it."""
        return bool(self._waiting)

    @property
    def unheard_from(self) -> int | None:
        """The first record of all that the client has not heard of; None if it has of all."""
        unheard = [rejection for _, rejection in self._told] + self._waiting
        return min((rejection.sequence for rejection in unheard), default=None)

    @property
    def are_due(self) -> bool:
        """Whether any is to be told again."""
        return self._untold > 0

    @property
    def waiting(self) -> list[Rejection]:
        """Those that wait for the acknowledgement that covers them."""
        return self._waiting

    def add(self, rejection: Rejection) -> None:
        """Adds ``rejection``, its message cut to ``MAX_MESSAGE``."""
        message = printable(rejection.message[:MAX_MESSAGE])[:MAX_MESSAGE]
        rejection = replace(rejection, message=message)
        if len(self._waiting) >= MAX_REJECTIONS:
            alike = [
                (other.runs == rejection.runs, -index)
                for index, other in enumerate(self._waiting)
                if other.reason == rejection.reason
            ]
            if alike:
                index = -max(alike)[1]
                self._waiting[index] = self._waiting[index].plus(rejection)
                return
        self._waiting.append(rejection)

    def take(self, settled: Settled) -> list[pb.Rejected]:
        """What is to be told before an acknowledgement: all that it covers, like ones in one."""
        covered: dict[tuple[int, str, tuple[int, ...]], Rejection] = {}
        waiting = []
        for rejection in self._waiting:
            if not settled.covers(rejection.last_sequence, rejection.runs):
                waiting.append(rejection)
                continue
            key = rejection.reason, rejection.message, rejection.runs
            known = covered.get(key)
            covered[key] = rejection if known is None else known.plus(rejection)
        self._waiting = waiting
        for rejection in covered.values():
            self._last_number += 1
            self._told.append((self._last_number, rejection))
        due = self._untold + len(covered)
        told = [_message(*self._told[index]) for index in range(-due, 0)]
        self._untold = 0
        while len(self._told) > MAX_UNHEARD:
            self._told.popleft()
        return told

    def tell_again(self) -> None:
        """A new stream begins: all that was not heard is due."""
        self._untold = len(self._told)

    def resume(self, number: int) -> None:
        """The client has heard those up to ``number``, from another daemon perhaps."""
        self._last_number = max(self._last_number, number)
        self.heard(number)

    def heard(self, number: int) -> None:
        """The client has heard those up to ``number``; of one that was never told: nothing."""
        if number > self._last_number:
            return
        while self._told and self._told[0][0] <= number:
            self._told.popleft()
        self._untold = min(self._untold, len(self._told))

    def unheard(self) -> Unheard:
        """What is left at the session's end."""
        return Unheard(self._last_number, tuple(self._told), tuple(self._waiting))


def _message(number: int, rejection: Rejection) -> pb.Rejected:
    return pb.Rejected(
        sequence=rejection.sequence,
        records=rejection.records,
        is_part=not rejection.records,
        reason=pb.Reason.Name(rejection.reason),
        message=rejection.message,
        last_sequence=rejection.last_sequence,
        number=number,
        run=rejection.runs[0] if len(rejection.runs) == 1 else 0,
        runs=rejection.runs if len(rejection.runs) > 1 else (),
    )
