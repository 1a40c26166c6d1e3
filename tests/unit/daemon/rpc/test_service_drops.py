"""What clients dropped, told by a service that they leave and come back to."""

from __future__ import annotations

from pathlib import Path

import pytest
from boardd.core.budget import Budgets
from boardd_protos import boardd_pb2 as pb
from support.raw_client import RUN, Harness, definitions, scalar, scalars, serving
from support.service_reading import run_async, values_of
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")

SESSION = b"s" * 16


def dropped(records: int, step: int) -> pb.ClientReport:
    count = pb.DropCount(reason="full", records=records, size_bytes=1, run=RUN, step=step)
    return pb.ClientReport(dropped=[count])


def points(harness: Harness) -> list[tuple[int, float]]:
    """Step and value of the drops of the run, in the order of its files."""
    return [(step, value) for step, tag, value in values_of(harness) if tag == "boardd/dropped"]


def test_a_daemon_that_was_restarted_tells_drops_once_and_at_no_lower_step(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client(SESSION).begin()
            await client.records(scalars(1, 1000))
            await client.acknowledged(1000)
            await client.send(report=dropped(5, step=900))
            await until(lambda: len(points(harness)) == 1)
            # Not at the highest step of its records, which the next daemon will not know.
            assert points(harness) == [(900, 5)]
            await client.cut()
        async with serving(path) as harness:
            client = harness.client(SESSION)
            await client.open(1000)
            await client.attach()
            await client.send(definitions=definitions("run"))
            await client.send(report=dropped(5, step=900))
            await client.records(scalar(1001, step=1001))
            await client.acknowledged(1001)
            await client.send(report=dropped(6, step=1001))
            await until(lambda: len(points(harness)) == 2)
            assert points(harness) == [(900, 5), (1001, 6)]
            await client.close()

    run_async(test, tmp_path)


def test_an_expired_session_that_comes_back_is_not_counted_twice(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, Budgets(lease_secs=1.0)) as harness:
            other = await harness.client().begin()
            client = await harness.client(SESSION).begin()
            await client.records(scalars(1, 10))
            await client.acknowledged(10)
            await client.send(report=dropped(5, step=3))
            await until(lambda: len(points(harness)) == 1)
            await client.cut()
            await until(lambda: len(harness.status().sessions) == 1)
            client = harness.client(SESSION)
            await client.open(10)
            await client.attach()
            await client.send(definitions=definitions("run"))
            await client.send(report=dropped(5, step=3))
            await client.send(report=dropped(6, step=4))
            await until(lambda: len(points(harness)) == 2)
            assert points(harness) == [(3, 5), (4, 6)]
            status = harness.status()
            (run,) = status.runs
            (count,) = status.counters.dropped_by_client
            assert (run.dropped, count.records) == (6, 6)
            await client.close()
            await other.close()

    run_async(test, tmp_path)
