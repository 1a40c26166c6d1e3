"""What cannot be loaded holds records up, wherever that turns out, and rejects none."""

from __future__ import annotations

import asyncio
import importlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import RunPart, SummaryPart
from boardd.runs.directories.logdir import Roots, RunDirectory
from boardd.runs.event_files.run_files import RunFiles
from boardd.runs.threads.brief_calls import BriefCalls
from boardd.runs.writing.reduction_pool import Reduced, ReductionPool, RunReductions
from boardd.runs.writing.reductions import reduce_alone
from boardd.runs.writing.run_writer import RunWriter
from boardd.summaries.reduction import EncodedSummary
from boardd.summaries.series import SeriesSummaries
from boardd_protos import boardd_pb2 as pb
from support.service_reading import run_async
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")

TEXT = pb.Payload(text=pb.Text(markdown="text")).SerializeToString()


def new_run(path: Path) -> RunState:
    run = RunState(str(path), str(path), "", 10)
    run.tag_index("tag")
    run.holders.add((b"session", 1))
    return run


def text(run: RunState, sequence: int) -> SummaryPart:
    return SummaryPart(b"session", run, None, sequence, 1, 100, 0, sequence, 0.0, TEXT, {})


class BrokenRoots(Roots):
    """Opening a directory needs a module that is gone."""

    def open_run(self, logdir: str, *parts: str, umask: int | None = None) -> RunDirectory:
        importlib.import_module("boardd.there_is_none")
        raise AssertionError("it was loaded")


class Nothing:
    """No part may come back."""

    def finish(self, part: RunPart, written_bytes: int, duplicates: int) -> None:
        raise AssertionError(part)

    def reject(self, part: RunPart, reason: int, message: str) -> None:
        raise AssertionError(message)

    def recharge(self, part: RunPart, size_bytes: int) -> None:
        pass

    def warn(self, part: RunPart, message: str) -> None:
        raise AssertionError(message)

    def refuse(self, run: RunState) -> None:
        raise AssertionError(run.refusal)


def test_a_run_that_cannot_be_opened_for_it_is_held_up(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        run, reductions, faults = new_run(path / "run"), ReductionPool(1, 1 << 20), list[None]()
        reductions.environment.on_fault = lambda: faults.append(None)
        with ThreadPoolExecutor(1) as threads:
            files = RunFiles(
                run, BrokenRoots([path]), threads, BriefCalls(threads, 1), Nothing().refuse
            )
            idle: list[RunWriter] = []
            writer = RunWriter(run, files, Nothing(), reductions, idle.append)
            writer.admit(text(run, 1))
            await until(lambda: bool(faults))
            writer.admit(text(run, 2))
            await asyncio.sleep(0)
            assert not idle  # a writer after it would write what comes next out of order
            writer.abandon()
            await asyncio.wait([writer.task])
        reductions.close()
        assert len(faults) == 1

    run_async(test, tmp_path)


def test_a_record_that_cannot_be_reduced_for_it_has_no_result(tmp_path: Path) -> None:
    def reduce(part: SummaryPart, max_working_bytes: int) -> EncodedSummary | SeriesSummaries:
        if part.sequence == 1:
            importlib.import_module("boardd.there_is_none")
        return reduce_alone(part, max_working_bytes)

    async def test(path: Path) -> None:
        run, pool, delivered = new_run(path / "run"), ReductionPool(1, 1 << 20), list[Reduced]()
        pool.add(
            RunReductions(reduce),
            [(number, text(run, number)) for number in (1, 2, 3)],
            delivered.extend,
        )
        await until(lambda: len(delivered) == 2)
        assert [(ticket, type(result)) for ticket, _, result in delivered] == [
            (2, EncodedSummary),
            (3, EncodedSummary),
        ]
        pool.close()

    run_async(test, tmp_path)
