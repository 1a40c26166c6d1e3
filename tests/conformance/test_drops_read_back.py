"""Counts of drops, and scalars of sub-runs, through the whole daemon, read back by TensorBoard."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from boardd_protos import boardd_pb2 as pb
from support.raw_client import RUN, end_run, scalar, serving
from support.tensorboard_reader import Loader, read_scalars

LOADERS: tuple[Loader, ...] = ("python", "rust")


def dropped(records: int, reason: str = "log_full", *, step: int) -> pb.ClientReport:
    count = pb.DropCount(reason=reason, records=records, run=RUN, step=step)
    return pb.ClientReport(dropped=[count])


@pytest.mark.parametrize("loader", LOADERS)
def test_drops_are_a_series_of_the_run(tmp_path: Path, loader: Loader) -> None:
    async def scenario() -> Path:
        async with serving(tmp_path) as daemon:
            client = await daemon.client().begin()
            await client.records(scalar(1, 0.5, step=10))
            await client.acknowledged(1)
            await client.send(report=dropped(3, step=10))
            await client.send(report=dropped(3, step=10))
            await client.send(report=dropped(5, "arena_full", step=10))
            await client.records(scalar(2, 0.25, step=20))
            await client.acknowledged(2)
            await client.send(report=dropped(4, step=20))
            await client.records(end_run(3))
            await client.acknowledged(3)
            status = daemon.status()
            (run,) = status.runs
            assert (run.dropped, run.series) == (9, 1)
            (session,) = status.sessions
            for counters in (session.counters, status.counters):
                told = {item.reason: item.records for item in counters.dropped_by_client}
                assert told == {"arena_full": 5, "log_full": 4}
                assert counters.accepted == 3
            await client.close()
            return daemon.root

    root = asyncio.run(scenario())
    tags = read_scalars(root, loader)["run"]
    # Of the points of one step, one loader keeps the last and the other all.
    found = {tag: {point.step: point.value for point in data} for tag, data in tags.items()}
    assert found == {
        "loss": {10: 0.5, 20: 0.25},
        "boardd/dropped": {10: 8, 20: 9},
        "boardd/dropped/log_full": {10: 3, 20: 4},
        "boardd/dropped/arena_full": {10: 5, 20: 5},
    }


@pytest.mark.parametrize("loader", LOADERS)
def test_scalars_lie_in_the_run_and_its_sub_runs(tmp_path: Path, loader: Loader) -> None:
    names = ["a", "b", "c"]

    async def scenario() -> Path:
        async with serving(tmp_path) as daemon:
            client = await daemon.client().begin()
            message = pb.Definitions()
            for number, name in enumerate(names, 10):
                message.series.add(series=number, run=RUN, tag="curves", sub_run=f"curves/{name}")
            message.series.add(series=13, run=RUN, tag="plain")
            await client.send(definitions=message)
            frames = [
                scalar(4 * step + place - 3, (place + 1) * step, step=step, series=10 + place)
                for step in range(1, 201)
                for place in range(4)
            ]
            await client.records(*frames[:600])
            await client.records(*frames[600:])
            await client.acknowledged(800)
            assert daemon.status().counters.written == 800
            await client.close()
            return daemon.root

    root = asyncio.run(scenario())
    found = {
        (run, tag): [(point.step, point.value) for point in data]
        for run, tags in read_scalars(root, loader).items()
        for tag, data in tags.items()
    }
    assert found == {
        ("run/curves/a", "curves"): [(step, step) for step in range(1, 201)],
        ("run/curves/b", "curves"): [(step, 2 * step) for step in range(1, 201)],
        ("run/curves/c", "curves"): [(step, 3 * step) for step in range(1, 201)],
        ("run", "plain"): [(step, 4 * step) for step in range(1, 201)],
    }
