"""What a session defined and the daemon left out: past a budget, or of a run that it has not.

Its records are rejected as long as it is not defined again, with the reason and as those of
their run.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

from boardd_protos import boardd_pb2 as pb

#: Runs, and series, that are remembered; past that the oldest are forgotten.
MAX_LEFT_OUT: Final = 1 << 16


class SeriesLeftOut(NamedTuple):
    """The client's number of its run, and the ``Reason``."""

    run: int
    reason: int


class LeftOut:
    """The runs and series of one session that were left out; see the module."""

    def __init__(self, most: int = MAX_LEFT_OUT) -> None:
        self._most = most
        self._runs: OrderedDict[int, None] = OrderedDict()
        self._series: OrderedDict[int, SeriesLeftOut] = OrderedDict()
        self._has_forgotten = False

    def add_run(self, run: int) -> None:
        """Notes a run that is past a budget."""
        self._runs[run] = None
        if len(self._runs) > self._most:
            self._runs.popitem(last=False)

    def add_series(self, series: int, run: int, *, run_is_defined: bool) -> None:
        """Notes a series of ``run``: past a budget, or of a run that is not defined."""
        reason: int = pb.TOO_MANY_SERIES
        if not run_is_defined:
            reason = pb.TOO_MANY_RUNS if run in self._runs else pb.UNDEFINED_SERIES
        self._series[series] = SeriesLeftOut(run, reason)
        if len(self._series) > self._most:
            self._series.popitem(last=False)
            self._has_forgotten = True

    def remove_run(self, run: int) -> None:
        """Notes that a run is defined after all."""
        self._runs.pop(run, None)

    def remove_series(self, series: int) -> None:
        """Notes that a series is defined after all."""
        self._series.pop(series, None)

    def run_of(self, series: int) -> int:
        """The client's number of the run of ``series``; 0 if it is not known."""
        known = self._series.get(series)
        return 0 if known is None else known.run

    def reason(self, series: int) -> int:
        """Why ``series`` is not defined, a ``Reason``."""
        known = self._series.get(series)
        if known is not None:
            return known.reason
        # Most probably it is one of the many that were forgotten.
        return pb.TOO_MANY_SERIES if self._has_forgotten else pb.UNDEFINED_SERIES
