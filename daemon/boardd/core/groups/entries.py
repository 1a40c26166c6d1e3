"""What a group's journal holds, in order: what ranks logged, and what was decided.

Arrays are C-contiguous and are not changed by anybody. A tag is told by its index among
the group's tags, a session by its key (``core.runs.marks.session_key``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray


class Partial(Protocol):
    """One rank's summary, or several merged, in any order with the same result."""

    @property
    def size_bytes(self) -> int:
        """Memory that it holds."""
        ...

    def merge(self, *others: Any) -> Any:
        """Returns all as one."""
        ...


class Tag(NamedTuple):
    """A tag of the group. ``kind`` and ``reduce`` are those of whoever logged it first."""

    name: bytes
    #: ``SCALAR``, or whatever else its partials are.
    kind: str
    #: How ranks merge: mean, sum, min, max, last.
    reduce: str


#: The kind of tags whose contributions are single numbers.
SCALAR = "scalar"


@dataclass(frozen=True, order=True)
class Attempt:
    """One launch's try to train. ``epoch`` is that of its first member that was seen."""

    epoch: int
    launch: str
    number: int


@dataclass(frozen=True, eq=False)
class Began:
    """The group is there: a journal's first entry. ``group_id`` is 16 random bytes."""

    group_id: bytes
    world_size: int


@dataclass(frozen=True, eq=False)
class Joined:
    """A session logs as ``rank``, 0 <= rank < world_size, in ``attempt``.

    ``has_siblings``: other processes may log as this rank. ``relayed_by``: the producer that
    passes on what the session logs; empty: the session logs here. ``per_rank`` says what the
    group shows of the rank alone, ``"scalars"``, ``"all"`` or ``"none"``, and ``series`` in
    which directory, relative to the group's. ``process_id`` is random and the process's own;
    empty: not known.
    """

    session: bytes
    rank: int
    attempt: Attempt
    world_size: int
    hostname: str
    pid: int
    has_siblings: bool
    relayed_by: bytes = b""
    per_rank: str = "none"
    series: str = ""
    process_id: bytes = b""

    def is_process_of(self, other: Joined) -> bool:
        """Returns whether both log from one process, as far as is known."""
        if self.process_id and other.process_id:
            return self.process_id == other.process_id
        return (self.hostname, self.pid) == (other.hostname, other.pid)


@dataclass(frozen=True, eq=False)
class Left:
    """A session logs no more, unless it joins again."""

    session: bytes


@dataclass(frozen=True, eq=False)
class Tags:
    """New tags, with consecutive indices from ``first``."""

    first: int
    tags: tuple[Tag, ...]


@dataclass(eq=False, slots=True)
class Scalars:
    """n contributions of a session in call order; every column has shape ``[n]``."""

    session: bytes
    tag: NDArray[np.intp]
    step: NDArray[np.int64]
    wall_time: NDArray[np.float64]
    value: NDArray[np.float64]


@dataclass(eq=False, slots=True)
class Summary:
    """One contribution of a session to a tag that is not a scalar."""

    session: bytes
    tag: int
    step: int
    wall_time: float
    partial: Partial


@dataclass(frozen=True, eq=False)
class Rewound:
    """Points at or past ``step`` are out of date: ``attempt`` logs them anew.

    ``session`` asked for it; empty: the attempt went on from a checkpoint. ``is_own``: only
    the session's own series is out of date, and the group has rewound already.
    """

    attempt: Attempt
    step: int
    session: bytes = b""
    is_own: bool = False


@dataclass(frozen=True, eq=False)
class Closed:
    """m points are done, of which those of a tag have rising keys (step, nth).

    ``step`` and ``nth`` are int64[m], ``tag`` intp[m]. Scalars come first, then summaries.
    The points have consecutive emission sequences from ``sequence``. Behind them come those
    of the group's health (``points.HealthPoints``).
    """

    sequence: int
    step: NDArray[np.int64]
    nth: NDArray[np.int64]
    tag: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Told:
    """The table of ranks as Markdown, an emission of its own."""

    sequence: int
    text: str
    step: int
    wall_time: float


@dataclass(frozen=True, eq=False)
class Dropped:
    """Records of the run that are lost by now, by reason, as ``source`` counts them.

    ``source`` is a key of 16 bytes: a client that dropped them, or a host's daemon that rejected
    them. Its counts never fall. They are told at ``step``.
    """

    source: bytes
    records: Mapping[str, int]
    step: int
    wall_time: float

    @property
    def total(self) -> int:
        """The records of all reasons."""
        return sum(self.records.values())


@dataclass(frozen=True, eq=False)
class State:
    """The group as it is, its open points' contributions left out.

    ``members`` are all that are remembered, in the order in which they joined. ``numbers``
    and ``arrays`` are what the parts of the group keep, by name; arrays hold float64,
    int64 or bool, of any shape.
    """

    began: Began
    attempt: Attempt | None
    tags: Tags
    members: tuple[Joined, ...]
    numbers: Mapping[str, int]
    arrays: Mapping[str, NDArray[Any]]


Entry = Began | Joined | Left | Tags | Scalars | Summary | Rewound | Closed | Told | Dropped | State
