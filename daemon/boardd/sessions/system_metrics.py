"""What the machine and the processes of runs use, as scalars ``system/...`` of these runs.

A run is measured as long as its writer is open, its process runs on this host and shares its
memory, and nothing holds the run up. All ranks on this host keep a series of their own
process, and the lowest of them one of the host.

Measuring waits for drivers and the operating system, so it has a thread of its own. If that
hangs, nothing is measured any more, and nothing waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from boardd_protos import boardd_pb2 as pb

from boardd.core.intake.columns import SCALAR_BYTES
from boardd.core.runs.places import Place
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import PART_BYTES, MeasuredPart, RunPart
from boardd.sessions.live_session import LiveSession
from boardd.sessions.registry import Registry
from boardd.system.probe import Measurement, Probe

_logger = logging.getLogger(__name__)

#: Runs are measured no more often than this.
MIN_SECS: Final = 1.0
#: Of the runs of one process, those that began first are measured.
MAX_RUNS: Final = 16
#: What begins the tags.
PREFIX: Final = "system/"


class _Watched(NamedTuple):
    """A run that is measured every ``secs`` seconds, next at ``due`` of the loop's clock."""

    secs: float
    due: float


class _Target(NamedTuple):
    """A run that can be measured: of a session whose process is ``pid``."""

    live: LiveSession
    place: Place
    run: RunState
    pid: int


#: A session, and its client's number of a run.
_Key = tuple[bytes, int]


class SystemMetrics:
    """See the module. For the event loop's thread only.

    ``admit`` takes parts to their runs. ``make_probe`` is called on the thread that measures.
    """

    def __init__(
        self,
        registry: Registry,
        admit: Callable[[Iterable[RunPart]], None],
        make_probe: Callable[[], Probe] = Probe,
    ) -> None:
        self._registry = registry
        self._admit = admit
        self._make_probe = make_probe
        self._probe: Probe | None = None
        self._watched: dict[_Key, _Watched] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._measuring: asyncio.Future[Measurement] | None = None
        self._executor: ThreadPoolExecutor | None = None
        self._is_closed = False
        #: What was measured last for each run.
        self._last: dict[RunState, MeasuredPart] = {}

    def watch(self, live: LiveSession, runs: Iterable[pb.RunDefinition]) -> None:
        """Measures those of ``runs`` that ask for it, as ``live`` defines them."""
        if self._is_closed:
            return
        now = asyncio.get_running_loop().time()
        for run in runs:
            secs = run.system_metrics_secs
            key = live.session.session_id, run.run
            if secs > 0 and math.isfinite(secs) and key not in self._watched:
                secs = max(secs, MIN_SECS)
                self._watched[key] = _Watched(secs, _next_beat(now, secs))
        is_first = self._executor is None and self._timer is None and self._measuring is None
        if self._watched and is_first:
            self._begin()  # rates are known from the second measurement on
        else:
            self._wait()

    def close(self) -> None:
        """Measures nothing any more, and does not wait for a measurement under way."""
        self._is_closed = True
        self._watched.clear()
        self._cancel_timer()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._cancel_timer()
        if self._watched and self._measuring is None:
            due = min(watched.due for watched in self._watched.values())
            self._timer = asyncio.get_running_loop().call_at(due, self._begin)

    def _begin(self) -> None:
        self._cancel_timer()
        if self._measuring is not None:
            return
        self._forget_ended()
        pids = {target.pid for target in self._targets().values()}
        if not pids:
            self._delay(self._watched)
            self._wait()
            return
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="boardd-system-metrics")
        loop = asyncio.get_running_loop()
        self._measuring = loop.run_in_executor(self._executor, self._measure, pids)
        self._measuring.add_done_callback(self._measured)

    def _measure(self, pids: set[int]) -> Measurement:
        if self._probe is None:
            self._probe = self._make_probe()
        return self._probe.measure(pids)

    def _measured(self, measuring: asyncio.Future[Measurement]) -> None:
        self._measuring = None
        if measuring.cancelled():
            return
        now = asyncio.get_running_loop().time()
        due = [key for key, watched in self._watched.items() if watched.due <= now]
        error = measuring.exception()
        if error is not None:
            _logger.warning("this host cannot be measured: %r", error)
            self._watched.clear()
            return
        self._forget_ended()
        targets = self._targets()
        with_host = _with_host(targets.values())
        for key in set(due) & set(targets):
            run = targets[key].run
            try:
                self._tell(targets[key], measuring.result(), has_host=run in with_host)
            except Exception:  # a defect: the other runs are told all the same
                _logger.exception("run %s", run.path)
        self._delay(due)
        self._wait()

    def _delay(self, keys: Iterable[_Key]) -> None:
        now = asyncio.get_running_loop().time()
        for key in keys:
            if key in self._watched:
                watched = self._watched[key]
                self._watched[key] = watched._replace(due=_next_beat(now, watched.secs))

    def _tell(self, target: _Target, measurement: Measurement, *, has_host: bool) -> None:
        live, place, run, pid = target
        last = self._last.get(run)
        is_behind = last is not None and not last.is_back
        if pid not in measurement.processes or is_behind or run.progress.trouble:
            return
        values = {**(measurement.host if has_host else {}), **measurement.processes[pid]}
        part = self._last[run] = MeasuredPart(
            live.session.session_id,
            run,
            sequences=None,
            sequence=0,
            records=0,
            size_bytes=PART_BYTES + len(values) * SCALAR_BYTES,
            values={PREFIX + name: value for name, value in values.items()},
            wall_time=time.time(),
            numbers=(place.number,),
        )
        self._admit(live.session.hand_on(part).parts)

    def _targets(self) -> dict[_Key, _Target]:
        """The runs that are measured, each once: for the first that defined it and may write."""
        targets: dict[_Key, _Target] = {}
        runs: set[RunState] = set()
        of_process: Counter[int] = Counter()
        for key in self._watched:
            target = self._target(key)
            if target is None or target.run in runs or of_process[target.pid] >= MAX_RUNS:
                continue
            targets[key] = target
            runs.add(target.run)
            of_process[target.pid] += 1
        return targets

    def _target(self, key: _Key) -> _Target | None:
        """The run that ``key`` stands for, if its process is known and it can be written."""
        session_id, number = key
        live = self._registry.get(session_id)
        if live is None or live.map_connection is None or live.state.is_ending:
            return None
        place = live.session.schema.main_place(number)
        if place is None or place.refusal is not None:
            return None
        run = place.run if place.own is None else place.own.open_run
        pid = live.map_connection.peer_pid
        if run is None or not pid or not live.session.schema.holds(place, run):
            return None
        if run.is_superseded(session_id):
            return None
        return _Target(live, place, run, pid)

    def _forget_ended(self) -> None:
        """Forgets runs that were ended; one whose client is away for a moment is kept."""
        for session_id, number in list(self._watched):
            live = self._registry.get(session_id)
            place = None if live is None else live.session.schema.main_place(number)
            run = None if place is None else place.run
            is_open = (
                live is not None
                and place is not None
                and run is not None
                and live.session.schema.holds(place, run)
            )
            if not is_open:
                del self._watched[session_id, number]
        runs = {target.run for target in self._targets().values()}
        self._last = {run: part for run, part in self._last.items() if run in runs}


def _next_beat(now: float, secs: float) -> float:
    """The whole multiple of ``secs`` that is nearest to ``secs`` from ``now``.

    So runs that are measured as often as each other are measured together.
    """
    return secs * round((now + secs) / secs)


def _with_host(targets: Iterable[_Target]) -> set[RunState]:
    """The runs that are to have the host's series: of a group's ranks, that of the lowest."""
    lowest: dict[RunState | None, tuple[int, RunState]] = {}
    for _, place, run, _ in targets:
        group, rank = (run, 0) if place.own is None else (place.run, place.own.rank)
        if group not in lowest or rank < lowest[group][0]:
            lowest[group] = rank, run
    return {run for _, run in lowest.values()}
