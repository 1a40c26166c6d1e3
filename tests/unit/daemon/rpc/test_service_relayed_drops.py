"""What a host lost of a run whose points another daemon makes is told where these are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from boardd.core.budget import Budgets
from boardd.core.groups.limits import GroupLimits
from boardd.relay.relay import Batch, UnreachableError
from boardd_protos import boardd_pb2 as pb
from support.raw_client import RUN, Harness, RawClient, end_run, scalar, serving
from support.service_reading import run_async, values_of
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")

PATIENT = GroupLimits(lag_points=1 << 40, lag_secs=1e9)
PREFIX = "boardd/dropped"


class Link:
    """Leads to an aggregator in this process, while it is up. It keeps what it carried."""

    def __init__(self) -> None:
        self.aggregator: Harness | None = None
        self.carried: list[Batch] = []

    async def send(self, batch: Batch) -> int:
        if self.aggregator is None:
            raise UnreachableError("the link is cut")
        self.carried.append(batch)
        return await self.aggregator.service.take_relayed(batch)

    async def close(self) -> None:
        pass


@asynccontextmanager
async def forwarding(path: Path, link: Link) -> AsyncIterator[Harness]:
    (path / "host").mkdir(exist_ok=True)
    async with serving(path / "host", Budgets(max_tensor_bytes=8), retry_secs=0.02) as host:
        host.service.forward(link, "somewhere:1")
        yield host


@asynccontextmanager
async def aggregating(path: Path, link: Link) -> AsyncIterator[Harness]:
    (path / "near").mkdir(exist_ok=True)
    async with serving(path / "near", limits=PATIENT) as near:
        link.aggregator = near
        yield near
        link.aggregator = None


async def report(client: RawClient, records: int, step: int) -> None:
    count = pb.DropCount(reason="log_full", records=records, size_bytes=1, run=RUN, step=step)
    await client.send(report=pb.ClientReport(dropped=[count]))


def told(near: Harness) -> list[tuple[int, str, float]]:
    """What the merged run says of losses."""
    return [one for one in values_of(near) if one[1].startswith(PREFIX)]


def lost(harness: Harness) -> int:
    (run,) = (run for run in harness.status().runs if run.HasField("group"))
    return run.dropped


def test_what_clients_drop_while_the_link_is_cut_is_told_in_the_merged_run(
    tmp_path: Path,
) -> None:
    async def test(path: Path) -> None:
        link = Link()
        async with forwarding(path, link) as host:
            client = await host.client().begin(rank=0, world_size=2, per_rank="scalars")
            await client.records(scalar(1, step=7))
            await report(client, 3, step=8)
            await report(client, 5, step=9)
            await client.acknowledged(1)
            async with aggregating(path, link) as near:
                await until(lambda: (9, PREFIX, 5.0) in told(near))
                assert (9, f"{PREFIX}/log_full", 5.0) in told(near)
                assert lost(near) == lost(host) == 5
            # A daemon that replays its journal tells nothing twice.
            async with aggregating(path, link) as near:
                await report(client, 6, step=10)
                await until(lambda: (10, PREFIX, 6.0) in told(near))
                assert [value for _, tag, value in told(near) if tag == PREFIX] == [3.0, 5.0, 6.0]
                await client.records(end_run(2))
                assert (await client.close()).closed
                await until(lambda: not host.status().runs)

    run_async(test, tmp_path)


def test_what_a_host_rejects_is_told_in_the_merged_run(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        link = Link()
        async with forwarding(path, link) as host, aggregating(path, link) as near:
            client = await host.client().begin(rank=0, world_size=2)
            bad = scalar(2, wall_time=float("nan"))
            await client.records(scalar(1, step=7), bad, scalar(3, step=8), scalar(4, flags=1))
            await client.acknowledged(4)
            (run,) = host.status().runs
            assert {item.reason: item.records for item in run.rejected} == {pb.INVALID_RECORD: 2}
            await report(client, 5, step=9)
            await client.records(end_run(5))
            assert (await client.close()).closed
            await until(lambda: not host.status().runs)  # it has told all by then
            highest = {tag: value for _, tag, value in sorted(told(near))}
            assert highest[f"{PREFIX}/rejected_invalid_record"] == 2.0
            assert highest[f"{PREFIX}/log_full"] == 5.0
            # What was accepted or dropped there is written or lost here.
            counters = host.status().counters
            rejected = sum(item.records for item in counters.rejected)
            dropped = sum(item.records for item in counters.dropped_by_client)
            assert counters.accepted == counters.written + rejected
            assert highest[PREFIX] == lost(near) == rejected + dropped == 7

    run_async(test, tmp_path)


def test_no_host_can_tell_for_another(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        link = Link()
        async with forwarding(path, link) as host, aggregating(path, link) as near:
            client = await host.client().begin(rank=0, world_size=2)
            await report(client, 3, step=1)
            await until(lambda: (1, PREFIX, 3.0) in told(near))
            # Another producer sends what it has overheard: its counts are its own.
            for batch in list(link.carried):
                other = Batch(b"other".ljust(16), *list(vars(batch).values())[1:])
                await near.service.take_relayed(other)
            await until(lambda: (1, PREFIX, 6.0) in told(near))
            await client.records(end_run(1))
            assert (await client.close()).closed
            await until(lambda: not host.status().runs)

    run_async(test, tmp_path)
