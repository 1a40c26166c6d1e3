"""A daemon that was stopped for long, and whose journal another one has taken over meanwhile.

Where the file system has locks, the other one waits; here it has none.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from boardd.core.groups.limits import GroupLimits
from boardd.relay.relay import Batch
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


def points(near: Harness) -> list[tuple[int, float]]:
    return [(step, value) for step, tag, value in values_of(near, "run/rank_0") if tag == "loss"]
