"""When runs are measured: one timer, whatever is watched, and no part that stays out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable
from contextvars import Context
from typing import Any

import numpy as np
import pytest
from boardd.core.budget import Budgets
from boardd.core.session.batch import PART_BYTES, MeasuredPart, RunPart
from boardd.sessions import system_metrics
from boardd.sessions.live_session import LiveSession
from boardd.sessions.registry import Registry
from boardd.sessions.system_metrics import SystemMetrics, _next_beat
from boardd_protos import boardd_pb2 as pb
from support.waiting import until


class TimedLoop(asyncio.SelectorEventLoop):
    """Keeps its timers."""

    def __init__(self) -> None:
        super().__init__()
        self.timers: list[asyncio.TimerHandle] = []

    def call_at(
        self, when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = super().call_at(when, callback, *args, context=context)
        self.timers.append(timer)
        return timer


def opened(registry: Registry, *runs: pb.RunDefinition) -> LiveSession:
    live = registry.open(pb.OpenRequest(session_id=bytes(16)))
    live.session.define(pb.Definitions(runs=runs), {run.logdir: run.logdir for run in runs})
    return live


def test_runs_that_cannot_be_measured_share_a_timer() -> None:
    runs = [
        pb.RunDefinition(run=run, logdir=f"/{run}", rank=-1, system_metrics_secs=10)
        for run in range(1, 6)
    ]
    registry = Registry(Budgets(), lambda: 0.0)
    live = opened(registry, *runs)  # its client shares no memory
    loop = TimedLoop()

    async def watch() -> None:
        metrics = SystemMetrics(registry, lambda parts: pytest.fail("measured"))
        for run in runs:
            metrics.watch(live, [run])
        assert sum(not timer.cancelled() for timer in loop.timers) == 1
        metrics.close()
        assert all(timer.cancelled() for timer in loop.timers)

    try:
        loop.run_until_complete(watch())
    finally:
        loop.close()


class Connection:
    """A map connection of this process."""

    peer_pid = os.getpid()

    def receive(self) -> bool:
        return False

    def rely_on(self) -> None: ...

    def close(self) -> None: ...


def test_a_run_that_cannot_be_told_keeps_no_other_from_being_measured(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(system_metrics, "MIN_SECS", 0.001)
    runs = [
        pb.RunDefinition(run=run, logdir=f"/{run}", rank=-1, system_metrics_secs=0.01)
        for run in range(1, 3)
    ]
    registry = Registry(Budgets(), lambda: 0.0)
    live = opened(registry, *runs)
    live.map_connection = Connection()
    told: list[RunPart] = []

    def fail(parts: Iterable[RunPart]) -> None:
        told.extend(parts)
        raise ZeroDivisionError

    async def watch() -> None:
        metrics = SystemMetrics(registry, fail)
        metrics.watch(live, runs)
        await until(lambda: len(told) == 2)
        await until(lambda: metrics._timer is not None)
        metrics.close()

    asyncio.run(watch())
    assert {part.run.path for part in told} == {"/1", "/2"}
    assert sorted(record.getMessage() for record in caplog.records) == ["run /1", "run /2"]


@pytest.mark.parametrize("is_written", [True, False])
def test_a_part_is_back_however_it_comes(is_written: bool) -> None:
    live = opened(Registry(Budgets(), lambda: 0.0), pb.RunDefinition(run=1, logdir="/a", rank=-1))
    place = live.session.schema.main_place(1)
    assert place is not None
    assert place.run is not None
    session_id = live.session.session_id
    part = MeasuredPart(session_id, place.run, None, 0, 0, PART_BYTES, values={}, wall_time=0.0)
    live.session.hand_on(part)
    assert not part.is_back
    if is_written:
        live.session.finish(part, 1)
    else:
        live.session.reject(part, pb.SUPERSEDED, "why")
    assert part.is_back


@pytest.mark.parametrize("secs", [1.0, 10.0, 2.5])
def test_runs_that_are_measured_as_often_are_measured_together(secs: float) -> None:
    for began in np.linspace(1000.0, 1000.0 + 3 * secs, 40):
        first = _next_beat(began, secs)
        assert first / secs == pytest.approx(round(first / secs))
        assert 0.5 * secs <= first - began <= 1.5 * secs + 1e-9
        late = first + 0.01 * secs  # as timers are
        assert _next_beat(late, secs) == pytest.approx(first + secs)
