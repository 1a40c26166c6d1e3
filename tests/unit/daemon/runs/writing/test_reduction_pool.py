"""A defect in what the pool itself does costs a record, and never a thread."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import SummaryPart
from boardd.runs.writing import reduction_pool as module
from boardd.runs.writing.reduction_pool import Reduced, ReductionPool, RunReductions
from boardd.runs.writing.reductions import reduce_alone
from boardd.summaries.reduction import SummaryError
from boardd_protos import boardd_pb2 as pb
from support.service_reading import run_async
from support.waiting import until


@pytest.mark.parametrize("name", ["secs_of", "estimated_memory"])
def test_a_record_that_cannot_be_estimated_stops_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    estimated = getattr(module, name)

    def defective(payload: bytes, **budgets: Any) -> Any:
        if payload == b"bad":
            raise IndexError("a defect")
        return estimated(payload, **budgets)

    monkeypatch.setattr(module, name, defective)

    async def test(path: Path) -> None:
        run = RunState(str(path), str(path), "", 10)
        run.tag_index("tag")
        pool = ReductionPool(1, 1 << 20)
        reductions, made = RunReductions(reduce_alone), list[Reduced]()
        for sequence, payload in enumerate([b"bad", b"bad", b"good"]):
            part = SummaryPart(bytes(16), run, None, sequence, 1, 0, 0, 0, 0.0, payload, {})
            pool.add(reductions, [(sequence, part)], made.extend)
        await until(lambda: len(made) == 3)
        results = {ticket: result for ticket, _, result in made}
        assert all(isinstance(result, SummaryError) for result in results.values())
        if name == "estimated_memory":
            reasons = [getattr(results[ticket], "reason", None) for ticket in range(2)]
            assert reasons == [pb.REDUCTION_FAILED] * 2
        pool.close()
        await asyncio.sleep(0)

    run_async(test, tmp_path)
