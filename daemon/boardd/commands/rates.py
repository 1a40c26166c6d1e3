"""How fast a daemon goes, from two looks at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from boardd_protos import boardd_pb2 as pb


class RunRate(NamedTuple):
    """Of one run. ``lag_secs``: how long what waits has to wait, or has waited without progress."""

    records_per_sec: float = 0.0
    bytes_per_sec: float = 0.0
    lag_secs: float = 0.0


@dataclass(frozen=True)
class Rates:
    """Of the whole daemon, and of its runs by path."""

    records_per_sec: float = 0.0
    bytes_per_sec: float = 0.0
    runs: Mapping[str, RunRate] = field(default_factory=dict)


class RateMeter:
    """Makes rates of the replies that it is given one after the other."""

    def __init__(self) -> None:
        self._last: pb.StatusReply | None = None
        #: Since when nothing was written of what waits, by run, in the daemon's uptime.
        self._stuck_since: dict[str, float] = {}

    def rates(self, reply: pb.StatusReply) -> Rates:
        """The rates since the reply before; none with the first one of a daemon."""
        last, self._last = self._last, reply
        if last is None or (last.pid, last.started_at) != (reply.pid, reply.started_at):
            self._stuck_since.clear()
            return Rates()
        secs = reply.uptime_secs - last.uptime_secs
        if secs <= 0:
            return Rates()
        before = {run.path: run for run in last.runs}
        runs = {
            run.path: self._rate(before.get(run.path, pb.RunStatus()), run, reply, secs)
            for run in reply.runs
        }
        self._stuck_since = {path: at for path, at in self._stuck_since.items() if path in runs}
        return Rates(
            _per_sec(last.counters.written, reply.counters.written, secs),
            _per_sec(last.counters.written_bytes, reply.counters.written_bytes, secs),
            runs,
        )

    def _rate(
        self, before: pb.RunStatus, run: pb.RunStatus, reply: pb.StatusReply, secs: float
    ) -> RunRate:
        records_per_sec = _per_sec(before.written, run.written, secs)
        bytes_per_sec = _per_sec(before.written_bytes, run.written_bytes, secs)
        if records_per_sec or not run.pending:
            self._stuck_since.pop(run.path, None)
            lag_secs = run.pending / records_per_sec if run.pending else 0.0
        else:
            since = self._stuck_since.setdefault(run.path, reply.uptime_secs - secs)
            lag_secs = reply.uptime_secs - since
        return RunRate(records_per_sec, bytes_per_sec, lag_secs)


def _per_sec(before: int, after: int, secs: float) -> float:
    # A run that was closed and opened again begins at 0.
    return max(0, after - before) / secs
