"""How long work takes: how often it ended within each of a few bounds, as Prometheus counts it."""

from __future__ import annotations

import contextlib
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

#: Seconds within which work may end; all that takes longer is counted behind the last.
UPPER_SECS: Final = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)


class Durations:
    """The durations of one kind of work. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = [0] * (len(UPPER_SECS) + 1)
        self._sum_secs = 0.0

    def add(self, secs: float, times: int = 1) -> None:
        """Counts as many as ``times`` that took ``secs`` together."""
        place = bisect_left(UPPER_SECS, secs / times)
        with self._lock:
            self._counts[place] += times
            self._sum_secs += secs

    @contextlib.contextmanager
    def measured(self, clock: Callable[[], float]) -> Iterator[None]:
        """Counts how long it lasts by ``clock``, in seconds, also if it raises."""
        begin = clock()
        try:
            yield
        finally:
            self.add(clock() - begin)

    def snapshot(self) -> tuple[list[int], float]:
        """Returns how many ended within each of ``UPPER_SECS`` and later, and all their seconds.

        Each is counted in one place only.
        """
        with self._lock:
            return list(self._counts), self._sum_secs


@dataclass(frozen=True)
class Timings:
    """What the daemon measures of its work."""

    #: From the begin of a reduction to its end, without the wait for its turn.
    reduction: Durations = field(default_factory=Durations)
    #: Writes of appended events to their file, without the fsync of one that is left.
    #: As many as tries of appends.
    write: Durations = field(default_factory=Durations)
    #: Fsyncs of files, each with that of the directory of a new one.
    sync: Durations = field(default_factory=Durations)
