"""The table of runs by itself: what happens around its end."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd.core.budget import Budgets
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import RunPart, SummaryPart
from boardd.runs.directories.logdir import Roots
from boardd.runs.run_table import RunTable
from support.service_reading import run_async
from support.shared_client import slotted_histogram
from support.slow_maps import SlowMaps
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")

SESSION = b"session"
#: More than one thread has taken when the table is closed.
RECORDS = 100


class NoOutcomes:
    """Nothing may come back."""

    def finish(self, part: RunPart, written_bytes: int) -> None:
        raise AssertionError(part)

    def reject(self, part: RunPart, reason: int, message: str) -> None:
        raise AssertionError(message)

    def recharge(self, part: RunPart, size_bytes: int) -> None:
        raise AssertionError(part)

    def refuse(self, run: RunState) -> None:
        raise AssertionError(run.refusal)


def records(run: RunState, maps: SlowMaps, values: np.ndarray, first: int) -> list[RunPart]:
    payload = slotted_histogram(values, 0).SerializeToString()
    return [
        SummaryPart(SESSION, run, None, sequence, 1, 100, 0, sequence, 0.0, payload, {}, maps)
        for sequence in range(first, first + RECORDS)
    ]


def new_run(path: Path) -> RunState:
    run = RunState(str(path), str(path), "", 10)
    run.tag_index("tag")
    run.holders.add((SESSION, 1))
    return run


def test_a_reduction_that_ends_after_close_is_dropped_with_the_backlog(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        loop = asyncio.get_running_loop()
        errors: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda loop, context: errors.append(context))
        before = set(threading.enumerate())
        values = np.arange(10, dtype=np.float32)
        maps = SlowMaps(values)
        table = RunTable(Budgets(reducers=1), Roots([path]), NoOutcomes())
        table.admit(records(new_run(path / "run"), maps, values, 1))
        await until(maps.is_used.is_set)
        (reducer,) = [
            thread
            for thread in set(threading.enumerate()) - before
            if thread.name.startswith("boardd-reduce")
        ]
        await table.close()
        maps.opened.set()
        reducer.join(30.0)  # its result waits for the event loop by now
        assert not reducer.is_alive()
        await asyncio.sleep(0)
        # As from a stream that has not heard of the end.
        late = new_run(path / "late")
        table.open(late)
        table.admit(records(late, maps, values, RECORDS + 1))
        assert (await table.sync([late], SESSION)).ok
        assert errors == []

    run_async(test, tmp_path)
