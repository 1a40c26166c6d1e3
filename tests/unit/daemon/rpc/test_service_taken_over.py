"""A daemon that was stopped for long, and whose journal another one has taken over meanwhile.

Where the file system has locks, the other one waits; here it has none.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from boardd.core.groups.limits import GroupLimits
from boardd.core.runs.names import JOURNAL_DIRECTORY
from boardd.events.marks import Part
from boardd.relay.relay import Batch
from boardd.runs.event_files.event_file import DiskFullError, EventFile
from boardd.runs.event_files.live_file import LiveFile
from boardd.runs.groups import group_log, group_writer
from boardd.runs.journal.journal_claim import CLAIM_NAME
from boardd_protos import boardd_pb2 as pb
from support.raw_client import Harness, end_run, scalar, serving
from support.service_reading import run_async, values_of
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects", "no_locks")

SESSION = b"s" * 16
PATIENT = GroupLimits(lag_points=1 << 40, lag_secs=1e9)


class Link:
    """Leads to an aggregator in this process; ``sent`` are the batches of one daemon."""

    def __init__(self, aggregator: Harness) -> None:
        self._aggregator = aggregator
        self.sent: list[Batch] = []

    async def send(self, batch: Batch) -> int:
        self.sent.append(batch)
        return await self._aggregator.service.take_relayed(batch)

    async def close(self) -> None:
        pass


@asynccontextmanager
async def forwarding(path: Path, link: Link) -> AsyncIterator[Harness]:
    async with serving(path / "host", retry_secs=0.02) as host:
        host.service.forward(link, "somewhere:1", heartbeat_secs=0.01)
        yield host


def at_once(path: Path) -> AbstractAsyncContextManager[Harness]:
    """A daemon that waits for no rank."""
    return serving(path, retry_secs=0.02, limits=GroupLimits(join_secs=0.0))


def test_a_daemon_that_was_taken_over_writes_and_forwards_no_more(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        for name in ("host", "near"):
            (path / name).mkdir()
        async with serving(path / "near", limits=PATIENT) as near:
            old_link, new_link = Link(near), Link(near)
            async with forwarding(path, old_link) as old, forwarding(path, new_link) as new:
                more = {"rank": 0, "world_size": 1 << 10, "per_rank": "scalars"}
                before = await old.client(SESSION).begin(**more)
                await before.records(scalar(1), scalar(2))
                await before.acknowledged(2)
                after = await new.client(SESSION).begin(**more)
                await after.records(*(scalar(number) for number in range(1, 6)))
                await after.acknowledged(5)
                # What the old one takes goes under the numbers that entries of the new one have.
                await before.records(*(scalar(number, 99.0) for number in range(3, 9)))
                await before.acknowledged(8)
                assert sum(told.records for told in before.rejected) == 6
                assert {told.reason for told in before.rejected} == {pb.RUN_REFUSED}
                assert "taken over" in before.rejected[0].message
                sent = len(old_link.sent)
                await after.records(*(scalar(number) for number in range(6, 10)))
                await after.acknowledged(9)
                beats = len(new_link.sent) + 3
                await until(lambda: len(new_link.sent) >= beats)
                assert len(old_link.sent) == sent
                await after.records(end_run(10))
                assert (await after.close()).closed
                await before.close()
                await until(lambda: not (old.status().runs or new.status().runs))
            await until(lambda: len(points(near)) == 9)
            assert points(near) == [(step, 0.5) for step in range(1, 10)]

    run_async(test, tmp_path)


def test_points_that_were_held_up_when_it_was_taken_over_are_written_by_the_other_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_up: set[LiveFile] = set()
    is_full = True
    really_append = EventFile.append

    def append(file: LiveFile, events: bytes, parts: Sequence[Part] = ()) -> None:
        if is_full:
            held_up.add(file)
            raise DiskFullError(errno.ENOSPC, "no room")
        really_append(file, events, parts)

    monkeypatch.setattr(EventFile, "append", append)

    async def test(path: Path) -> None:
        nonlocal is_full
        more = {"rank": 0, "world_size": 2, "per_rank": "none"}
        async with at_once(path) as old, at_once(path) as new:
            before = await old.client(SESSION).begin(**more)
            await before.records(*(scalar(number) for number in range(1, 4)))
            await before.acknowledged(3)
            await until(lambda: bool(held_up))
            after = await new.client(SESSION).begin(**more)
            await after.records(*(scalar(number) for number in range(1, 5)))
            await after.acknowledged(4)
            is_full = False
            await until(lambda: any(run.group.rejected for run in old.status().runs))
            await after.records(end_run(5))
            assert (await after.close()).closed
            await until(lambda: not new.status().runs)
            await before.records(scalar(4))
            await before.acknowledged(4)
            assert "taken over" in before.rejected[0].message
            await before.close()
            losses = [one for one in values_of(new) if one[1] == "loss"]
            assert losses == [(step, "loss", 0.5) for step in range(1, 5)]

    run_async(test, tmp_path)


@pytest.mark.parametrize("is_idle", [False, True])
@pytest.mark.parametrize("what", ["run", "claim"])
def test_a_run_whose_directory_or_claim_is_removed_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, is_idle: bool
) -> None:
    if is_idle:
        for module in (group_log, group_writer):
            monkeypatch.setattr(module, "RELEASE_SECS", 0.01)

    async def test(path: Path) -> None:
        async with at_once(path) as harness:
            client = await harness.client(SESSION).begin(rank=0, world_size=2)
            await client.records(scalar(1))
            await client.acknowledged(1)
            await until(lambda: bool(values_of(harness)))
            run = path / "logs" / "run"
            claim = run / JOURNAL_DIRECTORY / CLAIM_NAME
            if what == "run":
                shutil.rmtree(run)
            else:
                claim.unlink()
            if is_idle:  # the daemon notices by itself
                await until(claim.exists)
            await client.records(scalar(2), end_run(3))
            assert (await client.close()).closed
            assert not client.rejected
            await until(lambda: not harness.status().runs)
            steps = [step for step, tag, _ in values_of(harness) if tag == "loss"]
            assert steps == ([2] if what == "run" else [1, 2])

    run_async(test, tmp_path)


def points(near: Harness) -> list[tuple[int, float]]:
    return [(step, value) for step, tag, value in values_of(near, "run/rank_0") if tag == "loss"]
