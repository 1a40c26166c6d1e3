"""A defect in what the pool does costs a record and no thread; what takes long can be seen."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import SummaryPart
from boardd.runs.writing import reduction_pool as module
from boardd.runs.writing.reduction_memory import SMALL_BYTES
from boardd.runs.writing.reduction_pool import Reduced, ReductionPool, RunReductions
from boardd.runs.writing.reductions import reduce_alone
from boardd.summaries.reduction import EncodedSummary, SummaryError
from boardd_protos import boardd_pb2 as pb
from support.service_reading import run_async
from support.waiting import until

#: A histogram that may be made together with others.
SMALL = pb.Payload(
    tensors=[pb.Tensor(dtype="float32", shape=[9])], histogram=pb.Histogram(count=3)
).SerializeToString()


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


def test_a_long_reduction_is_shown_while_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        module, "secs_of", lambda message: 40.0 if message.HasField("text") else 0.0
    )
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


@pytest.mark.parametrize("is_defective", [False, True])
def test_small_histograms_of_a_run_are_reduced_together(tmp_path: Path, is_defective: bool) -> None:
    other = pb.Payload(text=pb.Text(markdown="other")).SerializeToString()
    together: list[list[int]] = []
    alone: list[int] = []

    def reduce_together(
        records: Sequence[tuple[SummaryPart, pb.Payload]], max_working_bytes: int
    ) -> list[EncodedSummary]:
        together.append([part.sequence for part, _ in records])
        if is_defective:
            raise IndexError("a defect")
        return [EncodedSummary(b"%d" % part.sequence, {}) for part, _ in records]

    def reduce_one(part: SummaryPart, max_working_bytes: int) -> EncodedSummary:
        alone.append(part.sequence)
        return EncodedSummary(b"%d" % part.sequence, {})

    async def test(path: Path) -> None:
        run = RunState(str(path), str(path), "", 10)
        run.tag_index("tag")
        pool = ReductionPool(1, 1 << 20)
        made: list[Reduced] = []
        parts = [
            (number, SummaryPart(bytes(16), run, None, number, 1, 0, 0, 0, 0.0, payload, {}))
            for number, payload in enumerate([SMALL, SMALL, SMALL, other, SMALL])
        ]
        pool.add(RunReductions(reduce_one, reduce_together), parts, made.extend)
        await until(lambda: len(made) == len(parts))
        events = {ticket: getattr(result, "event", None) for ticket, _, result in made}
        assert events == {ticket: b"%d" % ticket for ticket in range(len(parts))}
        pool.close()
        await asyncio.sleep(0)

    run_async(test, tmp_path)
    assert together == [[0, 1, 2]]
    assert alone == ([0, 1, 2, 3, 4] if is_defective else [3, 4])


def test_few_are_reduced_together_and_wait_for_no_memory(tmp_path: Path) -> None:
    together: list[int] = []

    def reduce_together(
        records: Sequence[tuple[SummaryPart, pb.Payload]], max_working_bytes: int
    ) -> list[EncodedSummary]:
        together.append(len(records))
        return [EncodedSummary(b"event", {}) for _ in records]

    def reduce_one(part: SummaryPart, max_working_bytes: int) -> EncodedSummary:
        return EncodedSummary(b"event", {})

    async def test(path: Path) -> None:
        run = RunState(str(path), str(path), "", 10)
        run.tag_index("tag")
        pool = ReductionPool(1, 1 << 20, memory_bytes=2 * SMALL_BYTES)
        made: list[Reduced] = []
        parts = [
            (number, SummaryPart(bytes(16), run, None, number, 1, 0, 0, 0, 0.0, SMALL, {}))
            for number in range(1000)
        ]
        with pool._memory[False].holding(SMALL_BYTES):  # a large one is being made
            pool.add(RunReductions(reduce_one, reduce_together), parts, made.extend)
            await until(lambda: len(made) == len(parts))
        pool.close()
        await asyncio.sleep(0)

    run_async(test, tmp_path)
    assert 1 < max(together) <= 64


def test_a_run_that_cannot_take_its_results_keeps_none_from_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def reduce(part: SummaryPart, max_working_bytes: int) -> EncodedSummary:
        return EncodedSummary(b"event", {})

    def fail(results: list[Reduced]) -> NoReturn:
        raise ZeroDivisionError

    async def test(path: Path) -> None:
        run = RunState(str(path), str(path), "", 10)
        run.tag_index("tag")
        pool, made = ReductionPool(1, 1 << 20), list[Reduced]()
        part = SummaryPart(bytes(16), run, None, 1, 1, 0, 0, 0, 0.0, b"", {})
        pool._reduced = {fail: [(1, part, EncodedSummary(b"event", {}))]}
        pool.add(RunReductions(reduce), [(1, part)], made.extend)
        await until(lambda: len(made) == 1)
        pool.close()

    run_async(test, tmp_path)
    assert "1 results cannot be taken" in caplog.text
