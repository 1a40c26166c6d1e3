"""Which runs are measured: those of processes that share memory, as long as they log."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from boardd.sessions.system_metrics import MAX_RUNS
from boardd_protos import boardd_pb2 as pb
from support.raw_client import Harness, definitions, end_run, scalar, summary
from support.service_reading import run_async, values_of
from support.shared_client import FIRST, SharedClient, freed
from support.shared_service import shared
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")

#: The shortest time between two measurements.
SECS = 1.0


def measured(harness: Harness, run: str = "run") -> dict[str, list[tuple[int, float]]]:
    """Steps and values of what was measured, by tag."""
    found: dict[str, list[tuple[int, float]]] = {}
    for step, tag, value in values_of(harness, run):
        if tag.startswith("system/"):
            found.setdefault(tag, []).append((step, value))
    return found


def test_a_run_that_asks_is_measured_at_its_highest_step(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin(system_metrics_secs=SECS)
            await client.define(definitions("quiet", {3: "loss"}, run=2))
            await client.define(definitions("unused", {5: "loss"}, run=4, system_metrics_secs=SECS))
            by_value = await harness.client().begin("by_value", system_metrics_secs=SECS)
            await client.log(scalar(FIRST + 1, 0.5, step=7), scalar(FIRST + 2, 0.5, step=3))
            await client.log(scalar(FIRST + 3, 0.5, series=3))
            await by_value.records(scalar(1, 0.5))
            await until(lambda: len(measured(harness).get("system/process/threads", ())) >= 2)
            found = measured(harness)
            assert {step for points in found.values() for step, _ in points} == {7}
            assert found["system/process/memory_gib"][0][1] > 0
            assert 0 <= found["system/host/cpu_percent"][0][1] <= 100
            assert measured(harness, "quiet") == {}
            assert measured(harness, "by_value") == {}
            assert measured(harness, "unused") == {}
            counters = harness.status().counters
            assert (counters.accepted, counters.written) == (4, 4)
            await client.log(end_run(FIRST + 4, 1), end_run(FIRST + 5, 4))
            await client.acknowledged(FIRST + 5)
            written = harness.files()[0].stat().st_size
            with freed(SharedClient(harness.channel, harness.socket)) as later:
                await later.begin("later", system_metrics_secs=SECS)
                await later.log(scalar(FIRST + 1, 0.5))
                await until(lambda: measured(harness, "later"))
                assert harness.files()[0].stat().st_size == written
                assert (await later.close()).closed

    run_async(test, tmp_path)


def test_ranks_share_the_series_of_their_host(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            ranks = {"world_size": 2, "system_metrics_secs": SECS}
            await client.begin(rank=1, **ranks)
            await client.define(definitions("run", {4: "loss"}, run=3, **{**ranks, "rank": 0}))
            await client.log(scalar(FIRST + 1, 0.5), scalar(FIRST + 2, 0.5, series=4))
            await until(lambda: measured(harness, "run/rank_0") and measured(harness, "run/rank_1"))
            host = {name for name in measured(harness, "run/rank_0") if "/host/" in name}
            assert "system/host/memory_percent" in host
            only_process = measured(harness, "run/rank_1")
            assert {name.split("/")[1] for name in only_process} == {"process"}
            assert measured(harness) == {}
            assert (await client.close()).closed
            assert await client.end() == grpc.StatusCode.OK

    run_async(test, tmp_path)


def test_of_a_process_with_many_runs_the_first_are_measured(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin("0", system_metrics_secs=SECS)
            await client.log(scalar(FIRST + 1, 0.5))
            for number in range(1, MAX_RUNS + 1):
                run, series = 100 + number, 200 + number
                told = definitions(str(number), {series: "loss"}, run=run, system_metrics_secs=SECS)
                await client.define(told)
                await client.log(scalar(FIRST + 1 + number, 0.5, series=series))
            await until(lambda: all(measured(harness, str(run)) for run in range(MAX_RUNS)))
            assert not measured(harness, str(MAX_RUNS))
            await client.log(end_run(FIRST + MAX_RUNS + 2, 1))
            await until(lambda: measured(harness, str(MAX_RUNS)))
            assert (await client.close()).closed
            assert await client.end() == grpc.StatusCode.OK

    run_async(test, tmp_path)


def test_the_writer_that_took_a_run_over_is_measured(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            await client.begin(system_metrics_secs=SECS, epoch=5)
            await client.log(scalar(FIRST + 1, 0.5, step=7))
            await until(lambda: measured(harness))
            with freed(SharedClient(harness.channel, harness.socket)) as later:
                await later.begin(system_metrics_secs=SECS, epoch=6, purge_step=0)
                await later.log(scalar(FIRST + 1, 0.5, step=9))
                # The first client's session is open all the while.
                await until(
                    lambda: (
                        9 in {step for points in measured(harness).values() for step, _ in points}
                    )
                )
                assert (await later.close()).closed
            assert (await client.close()).closed
            assert await client.end() == grpc.StatusCode.OK

    run_async(test, tmp_path)


def test_a_tag_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with shared(path) as (harness, client):
            tags = {2: "loss", 3: "system/process/threads"}
            await client.begin(tags=tags, system_metrics_secs=SECS)
            text = pb.Payload(text=pb.Text(markdown="mine"))
            await client.log(summary(FIRST + 1, text, series=3), scalar(FIRST + 2, 0.5))
            await until(lambda: "system/process/memory_gib" in measured(harness))
            assert len(measured(harness)["system/process/threads"]) == 1
            assert (await client.close()).closed
            assert await client.end() == grpc.StatusCode.OK

    run_async(test, tmp_path)
