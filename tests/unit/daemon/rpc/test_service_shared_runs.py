"""Two processes that log to one run are both warned, once, and those that share it are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.raw_client import Harness, RawClient, definitions, end_run, scalar, serving
from support.service_reading import run_async

pytestmark = pytest.mark.usefixtures("no_defects")


async def begin(harness: Harness, pid: int, logdir: str = "run", **more: Any) -> RawClient:
    """A process's session that has written a scalar to a run and to a curve beneath it."""
    client = harness.client()
    await client.open(pid=pid, program=f"train_{pid}.py")
    await client.attach()
    more = {"process_id": b"%16d" % pid, "epoch": pid, **more}
    await client.send(definitions=definitions(logdir, **more))
    await client.send(definitions=definitions(logdir, {2: "loss"}, sub_run="curve", **more))
    await client.records(scalar(1), scalar(2, series=2))
    return client


def test_two_processes_are_told_of_each_other_once(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            one = await begin(harness, 1)
            await one.acknowledged(2)
            two = await begin(harness, 2)
            for client in (one, two):
                await client.until(lambda client=client: bool(client.notices))
            # What comes behind the second definition: the curve, and the run told again.
            await two.send(
                definitions=definitions("run", process_id=b"%16d" % 2, epoch=2),
            )
            await two.records(scalar(3))
            await two.acknowledged(3)
            await one.records(scalar(3))
            await one.acknowledged(3)
            for client, other in ((one, 2), (two, 1)):
                (notice,) = client.notices
                assert f"run {path}/logs/run: " in notice
                assert f"train_{other}.py, pid {other} on host" in notice
                assert all(cure in notice for cure in ("run=", "world_size=", "purge_step="))

    run_async(test, tmp_path)


def test_ranks_forked_children_and_successors_are_not_told(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            clients = [
                *[await begin(harness, 1 + rank, "a", rank=rank, world_size=2) for rank in (0, 1)],
                await begin(harness, 3, "b"),
                await begin(harness, 4, "b", has_siblings=True),
                await begin(harness, 5, "c"),
                await begin(harness, 6, "c", purge_step=0),
            ]
            ended = await begin(harness, 7, "d")  # lives on, and has closed its writer
            await ended.records(end_run(3))
            await ended.acknowledged(3)
            gone = await begin(harness, 8, "d")
            assert (await gone.close()).closed
            cut = await begin(harness, 9, "d")
            await cut.acknowledged(2)
            await cut.cut()
            clients += [ended, gone, cut, await begin(harness, 10, "d")]
            for client in clients[:4] + clients[5:6] + clients[-1:]:
                await client.acknowledged(2)
            assert [client.notices for client in clients] == [[]] * len(clients)

    run_async(test, tmp_path)
