"""The one writer of a run, given the results of reductions in chosen orders."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import EndPart, RunPart, SummaryPart
from boardd.events import event, plugins
from boardd.runs import run_writer
from boardd.runs.brief_calls import BriefCalls
from boardd.runs.logdir import Roots
from boardd.runs.run_writer import RunWriter
from boardd.summaries.reduction import EncodedSummary
from support.service_reading import events_of, run_async, until

pytestmark = pytest.mark.usefixtures("no_defects")

SESSION = b"session"


class Finished:
    """The sequence numbers of the parts that came back, in that order."""

    def __init__(self) -> None:
        self.sequences: list[int] = []

    def finish(self, part: RunPart, written_bytes: int) -> None:
        self.sequences.append(part.last_sequence)

    def reject(self, part: RunPart, reason: int, message: str) -> None:
        raise AssertionError(message)

    def recharge(self, part: RunPart, size_bytes: int) -> None:
        pass

    def refuse(self, run: RunState) -> None:
        raise AssertionError(run.refusal)


class Writing:
    """A run's writer, whose reductions wait in ``queue`` until a test hands them back."""

    def __init__(self, path: Path, threads: ThreadPoolExecutor) -> None:
        self.path = path / "run"
        self.run = RunState(str(self.path), str(self.path), "", 10)
        self.run.tag_index("tag")
        self.run.holders.add((SESSION, 1))
        self.finished = Finished()
        self.queue: dict[int, SummaryPart] = {}
        self.writer = RunWriter(
            self.run,
            Roots([path]),
            threads,
            BriefCalls(threads, 1),
            self.finished,
            self._queue,
            64,
            lambda writer: None,
        )

    def _queue(self, writer: RunWriter, records: list[tuple[int, SummaryPart]]) -> None:
        assert writer is self.writer
        self.queue.update(records)

    def admit(self, sequence: int) -> None:
        """Admits the record with this sequence number and step."""
        self.writer.admit(
            SummaryPart(SESSION, self.run, None, sequence, 1, 100, 0, sequence, 0.0, b"", {})
        )

    def end_another(self, sequence: int) -> None:
        """Ends the run for one of two members, in the sequence number ``sequence``."""
        self.writer.admit(EndPart(SESSION, self.run, None, sequence, 1, 100))

    def make(self, ticket: int) -> EncodedSummary:
        """Reduces a record to as many bytes as may wait to be written."""
        padding = "0" * run_writer.UNWRITTEN_BYTES
        value = plugins.text_value("tag", padding)
        result = EncodedSummary(
            event.summary(0.0, self.queue[ticket].step, value), {b"tag": "text"}
        )
        self.writer.add_reduced_bytes(result.size_bytes)
        return result

    def hand_back(self, ticket: int, result: EncodedSummary | None) -> None:
        """Hands a record back; None: it was not reduced, as too many bytes waited."""
        self.writer.reduced([(ticket, self.queue.pop(ticket), result)])

    def steps(self) -> list[int]:
        (file,) = self.path.iterdir()
        return [one.step for one in events_of(file) if one.summary.value]


@asynccontextmanager
async def writing_in(path: Path) -> AsyncIterator[Writing]:
    with ThreadPoolExecutor(2) as threads:
        writing = Writing(path, threads)
        try:
            yield writing
        finally:
            writing.writer.abandon()
            await asyncio.wait([writing.writer.task])


@pytest.fixture(autouse=True)
def small_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_writer, "UNWRITTEN_BYTES", 1000)


def test_a_record_put_back_is_written_though_later_ones_fill_the_run(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with writing_in(path) as writing:
            for sequence in (1, 2, 3):
                writing.admit(sequence)
            first, second, third = writing.queue
            # One thread finds the run full and does not reduce the second; another
            # reduces the third once the first is written. They come back together.
            writing.hand_back(first, writing.make(first))
            await until(lambda: writing.finished.sequences == [1])
            last = writing.make(third)
            writing.hand_back(second, None)
            writing.hand_back(third, last)
            assert set(writing.queue) == {second}
            writing.hand_back(second, writing.make(second))
            await until(lambda: len(writing.finished.sequences) == 3)
            assert writing.finished.sequences == writing.steps() == [1, 2, 3]

    run_async(test, tmp_path)


@pytest.mark.parametrize("between", ["nothing", "sync", "end"])
def test_a_record_is_reduced_once_all_before_it_is_done(tmp_path: Path, between: str) -> None:
    """It is put back while it is not yet the head, and whatever was the head feeds it."""

    async def test(path: Path) -> None:
        async with writing_in(path) as writing:
            syncing: list[asyncio.Task[str]] = []
            writing.admit(1)
            if between == "sync":
                syncing.append(asyncio.create_task(writing.writer.sync()))
                await asyncio.sleep(0)
            elif between == "end":
                writing.end_another(2)
            writing.admit(3)
            writing.admit(4)
            head, second, third = writing.queue
            writing.hand_back(third, writing.make(third))
            writing.hand_back(second, None)
            assert set(writing.queue) == {head}
            writing.hand_back(head, writing.make(head))
            await until(lambda: second in writing.queue)
            writing.hand_back(second, writing.make(second))
            await until(lambda: writing.finished.sequences[-1:] == [4])
            assert writing.finished.sequences == [1, *([2] if between == "end" else []), 3, 4]
            assert writing.steps() == [1, 3, 4]
            assert await asyncio.gather(*syncing) == [""] * len(syncing)

    run_async(test, tmp_path)


def test_only_the_head_may_be_reduced_while_the_run_is_full(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with writing_in(path) as writing:
            for sequence in (1, 2, 3):
                writing.admit(sequence)
            first, second, third = writing.queue
            may_reduce = writing.writer.may_reduce
            assert all(map(may_reduce, writing.queue))
            writing.hand_back(third, writing.make(third))
            assert [may_reduce(first), may_reduce(second)] == [True, False]
            writing.hand_back(first, writing.make(first))
            await until(lambda: writing.finished.sequences == [1])
            assert may_reduce(second)

    run_async(test, tmp_path)
