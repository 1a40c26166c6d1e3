"""The runs of a service: one writer, one live file, bounds."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from boardd.core.budget import Budgets
from boardd_protos import boardd_pb2 as pb
from support.raw_client import (
    RUN,
    definitions,
    end_run,
    histogram_payload,
    scalar,
    serving,
    summary,
)
from support.service_reading import reasons, run_async, steps_of, values_of
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")


def test_a_refused_run_does_not_disturb_the_others(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        (path / "logs").mkdir()
        (path / "logs" / "file").touch()
        async with serving(path) as harness:
            client = await harness.client().begin()
            cases = {
                2: (str(path / "elsewhere"), "", "OUTSIDE_ROOTS"),
                3: ("a/../../b", "", "OUTSIDE_ROOTS"),
                4: ("file", "", "NOT_A_DIRECTORY"),
                5: ("x", "a/../..", "OUTSIDE_ROOTS"),
                6: ("x", "n" * 300, "INVALID_NAME"),
                7: ("x", "nul\0", "INVALID_NAME"),
            }
            for number, (logdir, name, _) in cases.items():
                await client.send(
                    definitions=definitions(logdir, {number: "loss"}, run=number, name=name)
                )
            await client.records(*(scalar(1 + at, series=1 + at % 7) for at in range(70)))
            await client.acknowledged(70)
            await client.until(lambda: len(client.refused) == len(cases))
            told = {item.run: pb.Reason.Name(item.reason) for item in client.refused}
            assert told == {number: reason for number, (_, _, reason) in cases.items()}
            assert steps_of(harness) == list(range(1, 71, 7))
            assert reasons(harness) == {"RUN_REFUSED": 60}
            assert {item.name for item in (path / "logs").iterdir()} == {"file", "run"}
            # Told again after a reconnect: the first telling may have been lost.
            await client.cut()
            client.refused.clear()
            await client.open(70)
            await client.attach()
            await client.send(definitions=definitions("file", {4: "loss"}, run=4))
            await client.until(lambda: [item.run for item in client.refused] == [4])

    run_async(test, tmp_path)


def test_a_run_that_another_daemon_writes_waits_until_it_is_free(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness, serving(path, retry_secs=0.01) as other:
            first = await harness.client().begin()
            await first.records(scalar(1))
            await first.acknowledged(1)
            second = await other.client().begin()
            await second.records(scalar(1, step=2))
            flushed = await second.flush(1, timeout_secs=0.2)
            assert not flushed.reached
            assert str(path / "logs" / "run") in flushed.message
            assert "writes that directory already" in flushed.message
            assert (await first.close()).closed
            await second.acknowledged(1)
            assert not second.refused
            assert not second.rejected
            assert [run.trouble for run in other.status().runs] == [""]
            assert steps_of(harness) == [1, 2]

    run_async(test, tmp_path)


def test_two_sessions_feed_one_run_through_one_writer(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        (path / "link").symlink_to(path / "logs")
        (path / "logs").mkdir()
        (path / "logs" / "run").mkdir()
        (path / "logs" / "other").symlink_to("run")
        async with serving(path) as harness:
            # The same directory by four names, the last of which is the run's own.
            names = ["run", str(path / "logs" / "run"), str(path / "link" / "run")]
            clients = [await harness.client().begin(name) for name in names]
            clients.append(await harness.client().begin(".", name="other"))
            for at, client in enumerate(clients):
                await client.records(
                    *(scalar(number, step=10 * number + at) for number in range(1, 201))
                )
            for client in clients:
                await client.acknowledged(200)
            assert len(harness.files()) == 1
            assert len(harness.status().runs) == 1
            for at in range(4):
                own = [step for step in steps_of(harness) if step % 10 == at]
                assert own == [10 * number + at for number in range(1, 201)]
            # The first to end its run does not close the others' file.
            await clients[0].records(end_run(201))
            await clients[0].acknowledged(201)
            await clients[1].records(scalar(201, step=9000))
            await clients[1].acknowledged(201)
            assert len(harness.files()) == 1
            assert steps_of(harness)[-1] == 9000

    run_async(test, tmp_path)


def test_ranks_and_sub_runs_have_their_own_directories(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            for rank in range(2):
                client = await harness.client().begin(rank=rank, world_size=2, name="exp")
                await client.records(scalar(1, value=rank))
                await client.acknowledged(1)
            unknown = await harness.client().begin(rank=-1, world_size=2, name="exp")
            await unknown.records(scalar(1))
            await unknown.acknowledged(1)
            assert {item.name for item in (harness.root / "run" / "exp").iterdir()} >= {
                ".boardd-group",
                "rank_0",
                "rank_1",
                "worker_host_4711",
            }
            assert values_of(harness, "run/exp/rank_1") == [(1, "loss", 1.0)]
            curves = await harness.client().begin("plot")
            for number, name in ((2, "train"), (3, "test")):
                await curves.send(
                    definitions=pb.Definitions(
                        series=[
                            pb.SeriesDefinition(
                                series=number, run=RUN, tag="loss", sub_run=f"loss/{name}"
                            )
                        ]
                    )
                )
            await curves.records(
                scalar(1, 1.0), scalar(2, 2.0, series=2), scalar(3, 3.0, series=3), end_run(4)
            )
            await curves.acknowledged(4)
            assert values_of(harness, "plot/loss/train") == [(2, "loss", 2.0)]
            assert values_of(harness, "plot/loss/test") == [(3, "loss", 3.0)]
            assert values_of(harness, "plot") == [(1, "loss", 1.0)]
            counters = [item.counters for item in harness.status().sessions]
            assert counters[-1].accepted == counters[-1].written == 4

    run_async(test, tmp_path)


def test_a_sub_run_that_leads_to_another_run_is_that_run(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        for name in ("plot", "run"):
            (path / "logs" / name).mkdir(parents=True)
        (path / "logs" / "plot" / "train").symlink_to("../run")
        async with serving(path) as harness:
            client = await harness.client().begin("run")
            await client.records(scalar(1))
            curves = await harness.client().begin("plot")
            series = pb.SeriesDefinition(series=2, run=RUN, tag="loss", sub_run="train")
            await curves.send(definitions=pb.Definitions(series=[series]))
            await curves.records(scalar(1, series=2, step=2))
            await client.acknowledged(1)
            await curves.acknowledged(1)
            assert sorted(steps_of(harness)) == [1, 2]
            assert len(harness.files()) == 1
            assert len(harness.status().runs) == 2

    run_async(test, tmp_path)


def test_a_run_whose_directory_is_another_one_for_its_client_is_refused(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        status = path.stat()
        seen = pb.Directory(path=str(path), device=status.st_dev, inode=status.st_ino)
        other = pb.Directory(path=str(path), device=status.st_dev + 1, inode=status.st_ino)
        async with serving(path) as harness:
            same = await harness.client().begin(str(path / "logs" / "run"), ancestor=seen)
            await same.records(scalar(1))
            await same.acknowledged(1)
            client = await harness.client().begin(str(path / "logs" / "other"), ancestor=other)
            await client.until(lambda: bool(client.refused))
            assert pb.Reason.Name(client.refused[0].reason) == "ELSEWHERE"
            assert "container" in client.refused[0].message
            assert not (path / "logs" / "other").exists()
            assert not same.refused

    run_async(test, tmp_path)


def test_files_lack_what_the_writer_lacks(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            for name, umask in (("a", 0o002), ("b", 0o077), ("a", 0o077)):
                client = await harness.client().begin(name, umask=umask)
                await client.records(scalar(1))
                await client.acknowledged(1)
            found = {
                name: (
                    (harness.root / name).stat().st_mode & 0o777,
                    harness.files(name)[0].stat().st_mode & 0o777,
                )
                for name in ("a", "b")
            }
            assert found == {"a": (0o775, 0o664), "b": (0o700, 0o600)}

    old = os.umask(0o027)
    try:
        run_async(test, tmp_path)
    finally:
        os.umask(old)


def test_a_run_that_was_ended_goes_on_in_a_new_file(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin(filename_suffix=".mine")
            await client.records(scalar(1), end_run(2))
            await client.acknowledged(2)
            await client.records(scalar(3), end_run(4), end_run(5), end_run(6, run=99))
            await client.acknowledged(6)
            assert [path.name.endswith(".mine") for path in harness.files()] == [True, True]
            assert steps_of(harness) == [1, 3]
            assert reasons(harness) == {}, "there is nothing to end of a run that nobody defined"

    run_async(test, tmp_path)


def test_runs_are_bounded(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, Budgets(max_runs=2)) as harness:
            first = await harness.client().begin("a")
            await first.send(definitions=definitions("b", {2: "loss"}, run=2))
            await until(lambda: len(harness.status().runs) == 2)
            second = await harness.client().begin("c")
            await second.until(lambda: bool(second.refused))
            assert pb.Reason.Name(second.refused[0].reason) == "TOO_MANY_RUNS"
            await second.records(scalar(1))
            await second.acknowledged(1)
            await first.send(definitions=definitions("d", {3: "loss"}, run=3))
            await first.until(lambda: bool(first.refused))
            (refused,) = first.refused
            assert (refused.run, pb.Reason.Name(refused.reason)) == (3, "TOO_MANY_RUNS")
            # It refuses itself and its records, not the others.
            await first.records(scalar(1, series=3), scalar(2), scalar(3, series=2))
            await first.acknowledged(3)
            assert reasons(harness) == {"RUN_REFUSED": 1, "TOO_MANY_RUNS": 1}
            # When one has ended there is room again.
            await first.records(end_run(4, run=2))
            await first.acknowledged(4)
            await first.send(definitions=definitions("e", {4: "loss"}, run=4))
            await first.records(scalar(5, series=4))
            await first.acknowledged(5)
            assert steps_of(harness, "e") == [5]

    run_async(test, tmp_path)


def test_a_removed_directory_is_made_anew(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, retry_secs=0.01) as harness:
            client = await harness.client().begin()
            await client.records(scalar(1))
            await client.acknowledged(1)
            harness.files()[0].unlink()
            (harness.root / "run").rmdir()
            await client.records(scalar(2))
            await client.acknowledged(2)
            assert steps_of(harness) == [2]

    run_async(test, tmp_path)


def test_steps_that_go_backwards_are_counted_and_written(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "loss", 2: "other"})
            await client.records(scalar(1, step=5), scalar(2, step=3, series=2), scalar(3, step=4))
            await client.records(scalar(4, step=6), scalar(5, step=2))
            await client.acknowledged(5)
            assert steps_of(harness) == [5, 3, 4, 6, 2]
            (run,) = harness.status().runs
            assert run.steps_backwards == 2

    run_async(test, tmp_path)


def test_reductions_wait_for_the_file_and_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Room for a few events at a time, so that every one must make room for the next.
    monkeypatch.setattr("boardd.runs.writing.reduction_pool.UNWRITTEN_BYTES", 1000)

    async def test(path: Path) -> None:
        values = np.random.default_rng(0).normal(size=100)
        async with serving(path) as harness:
            client = await harness.client().begin()
            payload = histogram_payload(values, 50)
            for number in range(1, 41):
                await client.tensor(number, values)
            await client.records(*(summary(number, payload) for number in range(1, 41)))
            await client.acknowledged(40)
            assert steps_of(harness) == list(range(1, 41))

    run_async(test, tmp_path)
