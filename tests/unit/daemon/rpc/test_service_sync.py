"""When a service makes runs durable, and what it says if that fails."""

from __future__ import annotations

import asyncio
import errno
import os
from collections import Counter
from pathlib import Path

import pytest
from boardd.core.sync_policy import SyncPolicy
from boardd_protos import boardd_pb2 as pb
from support.raw_client import RawClient, definitions, end_run, scalar, serving
from support.service_reading import run_async, steps_of
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")

#: Of one process, which leaves an eighth of all to others.
RUNS = 800


class Fsyncs:
    """Counts fsyncs by path; the next ``failing`` ones of event files fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: Counter[str] = Counter()
        self.failing = 0
        self._fsync = os.fsync
        monkeypatch.setattr(os, "fsync", self._count)

    @property
    def of_files(self) -> int:
        """Of event files."""
        return sum(count for path, count in self.counts.copy().items() if "tfevents" in path)

    def of_file(self, path: Path) -> int:
        return self.counts[str(path)]

    def _count(self, fd: int) -> None:
        name = os.readlink(f"/proc/self/fd/{fd}")
        self.counts[name] += 1
        if "tfevents" in name and self.failing:
            self.failing -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._fsync(fd)


@pytest.fixture
def fsyncs(monkeypatch: pytest.MonkeyPatch) -> Fsyncs:
    return Fsyncs(monkeypatch)


async def log(client: RawClient, first: int, count: int = 1) -> None:
    await client.records(*(scalar(number) for number in range(first, first + count)))
    await client.acknowledged(first + count - 1)


def test_unless_asked_for_only_a_closed_file_is_synced(tmp_path: Path, fsyncs: Fsyncs) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            for number in range(1, 6):
                await log(client, number)
                assert (await client.flush(number)).reached
            await asyncio.sleep(0.3)
            assert fsyncs.of_files == 0
            assert (await client.flush(5, level=pb.SYNCED)).reached
            assert fsyncs.of_files == 1
            # Nothing was written since.
            assert (await client.flush(5, level=pb.SYNCED)).reached
            assert fsyncs.of_files == 1
            await client.records(scalar(6), end_run(7))
            await client.acknowledged(7)
            assert fsyncs.of_files == 2

    run_async(test, tmp_path)


@pytest.mark.parametrize("asks", ["daemon", "writer"])
def test_every_flush_is_synced_if_so_set(tmp_path: Path, fsyncs: Fsyncs, asks: str) -> None:
    async def test(path: Path) -> None:
        of_daemon = SyncPolicy(on_flush=asks == "daemon")
        async with serving(path, sync=of_daemon) as harness:
            client = await harness.client().begin(sync_on_flush=asks == "writer")
            for number in range(1, 6):
                await log(client, number)
                assert (await client.flush(number)).reached
                assert fsyncs.of_files == number
            # Another run of the session that nobody asked for is not.
            await client.send(definitions=definitions("other", {2: "loss"}, run=2))
            await client.records(scalar(6, series=2))
            assert (await client.flush(6)).reached
            (other,) = harness.files("other")
            assert fsyncs.of_file(other) == (asks == "daemon")
            opened = await harness.client().open()
            assert opened.sync_on_flush == (asks == "daemon")

    run_async(test, tmp_path)


@pytest.mark.parametrize("asks", ["daemon", "writer"])
def test_what_was_written_is_synced_in_time_and_no_more(
    tmp_path: Path, fsyncs: Fsyncs, asks: str
) -> None:
    async def test(path: Path) -> None:
        secs = {"daemon": 0.2, "writer": 3600.0} if asks == "daemon" else {"writer": 0.2}
        policy = SyncPolicy(secs.get("daemon", 0.0))
        async with serving(path, sync=policy) as harness:
            client = await harness.client().begin(sync_secs=secs["writer"])
            begin = asyncio.get_running_loop().time()
            await log(client, 1, 20)
            await until(lambda: fsyncs.of_files == 1)
            assert asyncio.get_running_loop().time() - begin > 0.1
            await log(client, 21, 20)
            await until(lambda: fsyncs.of_files == 2)
            # Nothing was written since.
            await asyncio.sleep(0.5)
            assert fsyncs.of_files == 2

    run_async(test, tmp_path)


def test_two_writers_of_a_run_get_what_the_stricter_asks_for(
    tmp_path: Path, fsyncs: Fsyncs
) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            lax = await harness.client().begin()
            await log(lax, 1)
            strict = await harness.client().begin(sync_on_flush=True)
            await log(strict, 1)
            await log(lax, 2)
            assert (await lax.flush(2)).reached
            assert fsyncs.of_files == 1
            assert (await strict.close()).closed
            await log(lax, 3)
            assert (await lax.flush(3)).reached
            assert fsyncs.of_files == 1

    run_async(test, tmp_path)


@pytest.mark.parametrize("when", ["asked for", "by time", "at the end", "at the end by close"])
def test_an_fsync_that_failed_is_told_once_and_never_repeated(
    tmp_path: Path, fsyncs: Fsyncs, when: str
) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            secs = 0.1 if when == "by time" else 0.0
            client = await harness.client().begin(sync_secs=secs)
            fsyncs.failing = 1
            await log(client, 1)
            (first,) = harness.files()
            last = 1
            if when == "by time":
                await until(lambda: not fsyncs.failing)
            elif when.startswith("at the end"):
                last = 2
                await client.records(end_run(2))
                await client.acknowledged(2)
            flushed = await client.flush(last, level=pb.SYNCED)
            assert not flushed.reached
            assert first.name in flushed.message
            assert "are in doubt" in flushed.message
            assert fsyncs.of_file(first) == 1
            assert (await client.flush(last, level=pb.SYNCED)).reached
            # Writing goes on, in a new file.
            await log(client, last + 1)
            assert (await client.flush(last + 1, level=pb.SYNCED)).reached
            assert fsyncs.of_file(first) == 1
            assert len(harness.files()) == 2
            assert steps_of(harness) == [1, last + 1]

    run_async(test, tmp_path)


def test_hundreds_of_runs_are_synced_one_after_the_other(tmp_path: Path, fsyncs: Fsyncs) -> None:
    async def test(path: Path) -> None:
        async with serving(path, sync=SyncPolicy(0.3)) as harness:
            client = await harness.client().begin()
            curves = [
                pb.SeriesDefinition(series=2 + number, run=1, tag="x", sub_run=str(number))
                for number in range(RUNS)
            ]
            await client.send(definitions=pb.Definitions(series=curves))
            await client.records(*(scalar(1 + n, series=2 + n) for n in range(RUNS)))
            await client.acknowledged(RUNS)
            await until(lambda: fsyncs.of_files == RUNS)

    run_async(test, tmp_path)
