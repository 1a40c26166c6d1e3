"""The one writer of a run, with reductions that end when a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import DropPart, EndPart, RunPart, SummaryPart
from boardd.runs.directories.logdir import Roots, RunDirectory
from boardd.runs.event_files.run_files import RunFiles
from boardd.runs.event_files.sync_result import SyncResult
from boardd.runs.threads.brief_calls import BriefCalls
from boardd.runs.writing import reduction_pool
from boardd.runs.writing.reduction_pool import ReductionPool
from boardd.runs.writing.run_writer import RunWriter
from support.service_reading import events_of, run_async
from support.shared_client import slotted_histogram
from support.slow_maps import SlowMaps
from support.waiting import until

SESSION = b"session"
VALUES = np.arange(10, dtype=np.float32)


class Outcomes:
    """The sequence numbers of the parts that were reduced and that came back, in that order."""

    def __init__(self) -> None:
        self.reduced: list[int] = []
        self.finished: list[int] = []

    def finish(self, part: RunPart, written_bytes: int, duplicates: int) -> None:
        self.finished.append(part.last_sequence)

    def reject(self, part: RunPart, reason: int, message: str) -> None:
        raise AssertionError(message)

    def recharge(self, part: RunPart, size_bytes: int) -> None:
        self.reduced.append(part.last_sequence)

    def refuse(self, run: RunState) -> None:
        raise AssertionError(run.refusal)


class Writing:
    """A run's writer, and the maps of its records, by their sequence number."""

    def __init__(self, path: Path, threads: ThreadPoolExecutor, reductions: ReductionPool) -> None:
        self.path = path / "run"
        self.run = RunState(str(self.path), str(self.path), "", 10)
        self.run.tag_index("tag")
        self.run.holders.add((SESSION, 1))
        self.outcomes = Outcomes()
        self.maps: dict[int, SlowMaps] = {}
        self.writer = RunWriter(
            self.run,
            RunFiles(
                self.run, Roots([path]), threads, BriefCalls(threads, 1), self.outcomes.refuse
            ),
            self.outcomes,
            reductions,
            lambda writer: None,
        )

    def admit(self, *sequences: int) -> None:
        """Admits a histogram with each sequence number, which is its step too."""
        for sequence in sequences:
            maps = self.maps[sequence] = SlowMaps(VALUES)
            payload = slotted_histogram(VALUES, 0).SerializeToString()
            self.writer.admit(
                SummaryPart(
                    SESSION, self.run, None, sequence, 1, 100, 0, sequence, 0.0, payload, {}, maps
                )
            )

    def end_another(self, sequence: int) -> None:
        """Ends the run for one of two members, in the sequence number ``sequence``."""
        self.writer.admit(EndPart(SESSION, self.run, None, sequence, 1, 100))

    async def begun(self, *sequences: int) -> None:
        """Waits until these are being reduced."""
        await until(lambda: all(self.maps[sequence].is_used.is_set() for sequence in sequences))

    async def reduce(self, *sequences: int) -> None:
        """Lets the reductions of these end, one after the other."""
        for count, sequence in enumerate(sequences, len(self.outcomes.reduced) + 1):
            self.maps[sequence].opened.set()
            await until(lambda count=count: len(self.outcomes.reduced) == count)
            assert self.outcomes.reduced[-1] == sequence

    async def finished(self, *sequences: int) -> None:
        """Waits until exactly these are written, and looks into the file."""
        await until(lambda: len(self.outcomes.finished) >= len(sequences))
        assert self.outcomes.finished == list(sequences)
        (file,) = self.path.iterdir()
        steps = [one.step for one in events_of(file) if one.summary.value]
        assert steps == [sequence for sequence in sequences if sequence in self.maps]


@asynccontextmanager
async def writing_in(path: Path, reducers: int) -> AsyncIterator[Writing]:
    reductions = ReductionPool(reducers, 1 << 20)
    with ThreadPoolExecutor(2) as threads:
        writing = Writing(path, threads, reductions)
        try:
            yield writing
        finally:
            for maps in writing.maps.values():
                maps.opened.set()
            writing.writer.abandon()
            await asyncio.wait([writing.writer.task])
            reductions.close()


class DefectiveRoots(Roots):
    """Fails as nobody expects."""

    def open_run(self, logdir: str, *parts: str, umask: int | None = None) -> RunDirectory:
        raise IndexError(logdir)


def test_a_defect_while_a_run_is_opened_rejects_its_records(tmp_path: Path) -> None:
    """And is logged, with the exception."""

    async def test() -> None:
        run = RunState(str(tmp_path), str(tmp_path), "", 10)
        run.tag_index("tag")
        run.holders.add((SESSION, 1))
        rejected: list[str] = []

        class Rejecting(Outcomes):
            def reject(self, part: RunPart, reason: int, message: str) -> None:
                rejected.append(message)

            def refuse(self, run: RunState) -> None:
                pass

        outcomes, reductions = Rejecting(), ReductionPool(1, 1 << 20)
        with ThreadPoolExecutor(1) as threads:
            files = RunFiles(
                run, DefectiveRoots([tmp_path]), threads, BriefCalls(threads, 1), outcomes.refuse
            )
            writer = RunWriter(run, files, outcomes, reductions, lambda writer: None)
            writer.admit(DropPart(SESSION, run, None, 1, 1, 100, {"full": 1}, 1, 1.0))
            await until(lambda: len(rejected) == 1)
            await writer.task
            assert run.refusal is not None
            assert "IndexError" in run.refusal.message
            assert "IndexError" in rejected[0]
            reductions.close()

    asyncio.run(asyncio.wait_for(test(), 120.0))


@pytest.mark.usefixtures("no_defects")
def test_records_are_written_in_call_order_whichever_is_reduced_first(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with writing_in(path, reducers=3) as writing:
            writing.admit(1, 2, 3)
            await writing.begun(1, 2, 3)
            await writing.reduce(3, 2)
            assert writing.outcomes.finished == []
            await writing.reduce(1)
            await writing.finished(1, 2, 3)
            assert writing.run.progress.written_bytes > 0

    run_async(test, tmp_path)


@pytest.mark.usefixtures("no_defects")
@pytest.mark.parametrize("between", ["nothing", "sync", "end"])
def test_no_record_is_reduced_while_too_much_waits_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: str
) -> None:
    monkeypatch.setattr(reduction_pool, "UNWRITTEN_BYTES", 1)

    async def test(path: Path) -> None:
        async with writing_in(path, reducers=2) as writing:
            syncing: list[asyncio.Task[SyncResult]] = []
            writing.admit(1)
            if between == "sync":
                syncing.append(asyncio.create_task(writing.writer.sync()))
                await asyncio.sleep(0)
            elif between == "end":
                writing.end_another(2)
            writing.admit(3, 4)
            await writing.begun(1, 3)
            await writing.reduce(3)
            # Its thread looked for another record in the moment in which it gave this one back.
            assert not writing.maps[4].is_used.is_set()
            await writing.reduce(1)
            await writing.begun(4)
            await writing.finished(1, *([2] if between == "end" else []), 3)
            await writing.reduce(4)
            await writing.finished(1, *([2] if between == "end" else []), 3, 4)
            assert all(result.ok for result in await asyncio.gather(*syncing))

    run_async(test, tmp_path)
