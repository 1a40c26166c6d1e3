"""A defect in what the pool does costs a record and no thread; what takes long can be seen."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any, NoReturn

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


@pytest.mark.parametrize("name", ["estimated_secs", "estimated_memory"])
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


def test_a_long_reduction_is_shown_while_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "estimated_secs", lambda payload: 40.0 if payload else 0.0)
    release = threading.Event()
    seen = []

    async def test(path: Path) -> None:
        run = RunState(str(path), str(path), "", 10)
        run.tag_index("embedding")

        def reduce(part: SummaryPart, max_tensor_bytes: int) -> NoReturn:
            assert release.wait(60)
            seen.append(run.progress.reducing is not None)
            raise SummaryError(pb.REDUCTION_FAILED, "this is a test")

        pool = ReductionPool(1, 1 << 20)
        reductions, made = RunReductions(reduce), list[Reduced]()
        payload = pb.Payload(text=pb.Text(markdown="text")).SerializeToString()
        part = SummaryPart(bytes(16), run, None, 1, 1, 0, 0, 0, 0.0, payload, {})
        brief = SummaryPart(bytes(16), run, None, 2, 1, 0, 0, 0, 0.0, b"", {})
        pool.add(reductions, [(1, part)], made.extend)
        await until(lambda: run.progress.reducing is not None)
        assert run.progress.reducing is not None
        assert (run.progress.reducing.tag, run.progress.reducing.about_secs) == ("embedding", 40.0)
        release.set()
        await until(lambda: len(made) == 1)
        assert run.progress.reducing is None
        pool.add(reductions, [(2, brief)], made.extend)
        await until(lambda: len(made) == 2)
        assert seen == [True, False]
        pool.close()

    run_async(test, tmp_path)
