"""Ranks that log to one run: what is merged where, and what holds nobody up."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import numpy as np
import pytest
from boardd.core.groups.limits import GroupLimits
from boardd.runs.groups import group_log, groups
from boardd_protos import boardd_pb2 as pb
from support.raw_client import (
    Harness,
    RawClient,
    definitions,
    end_run,
    histogram_payload,
    scalar,
    scalars,
    serving,
    summary,
)
from support.service_reading import events_of, reasons, run_async, values_of
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")

#: No group of a test ends by the time that it takes.
PATIENT = GroupLimits(join_secs=600.0, lag_secs=600.0)
HASTY = GroupLimits(join_secs=0.0)


async def rank(
    harness: Harness, number: int, world_size: int = 2, session: bytes | None = None, **more: object
) -> RawClient:
    client = harness.client(session)
    return await client.begin(rank=number, world_size=world_size, **more)


def losses(harness: Harness, run: str = "run") -> list[tuple[int, float]]:
    return [
        (event.step, value.simple_value)
        for file in harness.files(run)
        for event in events_of(file)
        for value in event.summary.value
        if value.tag == "loss" and value.HasField("simple_value")
    ]


def test_a_rank_waits_for_no_other_and_points_wait_for_all(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, limits=PATIENT) as harness:
            first = await rank(harness, 0)
            await first.records(scalar(1, step=5, value=1.0), end_run(2))
            await first.acknowledged(2)
            assert (await first.close()).closed
            assert not harness.files()
            second = await rank(harness, 1)
            await second.records(scalar(1, step=5, value=4.0), scalar(2, step=6, value=8.0))
            await second.records(end_run(3))
            await second.acknowledged(3)
            await until(lambda: len(losses(harness)) == 2)
            # Of the second step there is one value, and so no lowest and no highest.
            assert losses(harness) == [(5, 2.5), (6, 8.0)]
            assert losses(harness, "run/min") == [(5, 1.0)]
            assert losses(harness, "run/max") == [(5, 4.0)]
            assert losses(harness, "run/rank_1") == [(5, 4.0), (6, 8.0)]

    run_async(test, tmp_path)


def test_a_tag_is_one_kind_for_all_ranks(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, limits=PATIENT) as harness:
            first, second = [await rank(harness, number, per_rank="none") for number in range(2)]
            await first.records(scalar(1))
            await first.acknowledged(1)
            values = np.array([1.0, 2.0])
            await second.tensor(1, values)
            await second.records(summary(1, histogram_payload(values)), scalar(2))
            await second.acknowledged(2)
            assert reasons(harness) == {"INVALID_NAME": 1}
            assert "is a scalar for the ranks of this run" in second.rejected[0].message

    run_async(test, tmp_path)


def test_what_a_client_sends_again_is_there_once(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        sessions = [bytes([number]) * 16 for number in range(2)]
        for _ in range(3):  # each service begins with what the one before has written
            async with serving(path, limits=PATIENT) as harness:
                for number, session in enumerate(sessions):
                    client = await rank(harness, number, session=session)
                    await client.records(scalars(1, 20))
                    await client.acknowledged(20)
                await until(lambda: len(losses(harness)) >= 20)
                assert [step for step, _ in losses(harness)] == list(range(1, 21))

    run_async(test, tmp_path)


def test_open_points_wait_for_the_next_daemon(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        first = bytes(16)
        async with serving(path, limits=PATIENT) as harness:
            client = await rank(harness, 0, session=first)
            await client.records(scalar(1, step=1, value=1.0))
            await client.acknowledged(1)
        async with serving(path, limits=PATIENT) as harness:
            assert not harness.files()
            other = await rank(harness, 1)
            await other.records(scalar(1, step=1, value=3.0))
            await until(lambda: losses(harness) == [(1, 2.0)])

    run_async(test, tmp_path)


@pytest.mark.parametrize("is_file", [True, False])
def test_a_directory_that_is_refused_or_held_up_holds_up_nothing_else(
    is_file: bool, tmp_path: Path
) -> None:
    async def test(path: Path) -> None:
        async with serving(path, limits=PATIENT, retry_secs=0.05) as harness:
            run = harness.root / "run"
            run.mkdir(parents=True)
            if is_file:
                (run / "min").write_bytes(b"")
            else:
                (run / "min").mkdir()
                locked = os.open(run / "min", os.O_RDONLY)
                fcntl.flock(locked, fcntl.LOCK_EX)
            clients = [await rank(harness, number) for number in range(2)]
            for client in clients:
                await client.records(scalars(1, 10))
            for client in clients:
                await client.acknowledged(10)
            await until(lambda: len(losses(harness, "run/max")) == 10)
            if not is_file:
                os.close(locked)
                await until(lambda: len(losses(harness, "run/min")) == 10)

    run_async(test, tmp_path)


def test_points_without_room_are_read_from_the_journal_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_log, "MAX_OUT_BYTES", 1000)
    monkeypatch.setattr(groups, "MAX_OUT_BYTES", 1000)

    async def test(path: Path) -> None:
        async with serving(path, limits=PATIENT) as harness:
            clients = [await rank(harness, number) for number in range(2)]
            for begin in range(1, 301, 30):
                for client in clients:
                    await client.records(scalars(begin, 30))
            for client in clients:
                await client.acknowledged(300)
            await until(lambda: len(losses(harness)) >= 300)
            assert [step for step, _ in losses(harness)] == list(range(1, 301))
            await until(lambda: len(losses(harness, "run/min")) >= 300)
            assert [step for step, _ in losses(harness, "run/min")] == list(range(1, 301))

    run_async(test, tmp_path)


def test_a_purge_rewinds_the_group_once(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        sessions = [bytes([number]) * 16 for number in range(2)]
        async with serving(path, limits=PATIENT) as harness:
            for number in range(2):
                client = await rank(harness, number, epoch=5)
                await client.records(scalars(1, 9), end_run(10))
                await client.acknowledged(10)
                await client.close()
            await until(lambda: len(losses(harness)) == 9)
        for _ in range(2):  # the next daemon is told of the purge again
            async with serving(path, limits=PATIENT) as harness:
                for number, session in enumerate(sessions):
                    more = {"epoch": 7 + number, "purge_step": 6, "launch": "again"}
                    client = await rank(harness, number, session=session, **more)
                    await client.records(*(scalar(1 + at, step=6 + at) for at in range(7)))
                    await client.acknowledged(7)
                await until(lambda: len(losses(harness)) >= 16)
                steps = [step for step, _ in losses(harness)]
                assert steps == [*range(1, 10), *range(6, 13)]
        starts = [
            event
            for file in harness.files()
            for event in events_of(file)
            if event.HasField("session_log")
        ]
        assert {event.step for event in starts} == {6}

    run_async(test, tmp_path)


def test_drops_of_a_rank_without_a_run_are_told_in_the_group(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, limits=PATIENT) as harness:
            client = await rank(harness, 0, per_rank="none")
            report = pb.ClientReport(dropped=[pb.DropCount(run=1, reason="full", records=3)])
            await client.send(report=report)
            await until(
                lambda: any(
                    tag == "boardd/dropped" and value == 3.0 for _, tag, value in values_of(harness)
                )
            )

    run_async(test, tmp_path)


def test_a_group_of_one_rank_that_logs_shows_its_points_at_once_after_the_grace(
    tmp_path: Path,
) -> None:
    async def test(path: Path) -> None:
        async with serving(path, limits=HASTY) as harness:
            client = await rank(harness, 0, world_size=8)
            for step in range(1, 4):
                await client.records(scalar(step, step=step, value=float(step)))
                await until(lambda step=step: losses(harness)[-1:] == [(step, float(step))])

    run_async(test, tmp_path)


def test_a_series_says_how_its_ranks_merge(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, limits=PATIENT) as harness:
            message = definitions("run", world_size=2)
            for number in range(2):
                client = await rank(harness, number, reduce="sum")
                message = pb.Definitions(
                    series=[pb.SeriesDefinition(series=9, run=1, tag="top", reduce="max")]
                )
                await client.send(definitions=message)
                value = float(number + 1)
                await client.records(scalar(1, value=value), scalar(2, series=9, value=value))
                await client.acknowledged(2)
            await until(lambda: len(losses(harness)) == 1)
            found = {tag: value for _, tag, value in values_of(harness)}
            assert (found["loss"], found["top"]) == (3.0, 2.0)

    run_async(test, tmp_path)
