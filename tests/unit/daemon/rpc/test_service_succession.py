"""Writers that follow each other in one run: what purges it, who is superseded, who is not."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from boardd.events.event_pb2 import Event
from boardd_protos import boardd_pb2 as pb
from support.raw_client import Harness, definitions, scalar, serving
from support.service_reading import events_of, reasons, run_async, values_of
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")


def shown(harness: Harness) -> list[str]:
    """Each event of the run: "START step" or "tag step"."""

    def text(event: Event) -> str:
        if event.HasField("session_log"):
            return f"START {event.step}"
        return f"{','.join(value.tag for value in event.summary.value)} {event.step}"

    return [
        text(event)
        for path in harness.files()
        for event in events_of(path)
        if not event.file_version
    ]


def test_a_run_is_purged_once_before_the_first_record_of_its_successor(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            old = await harness.client().begin(tags={1: "loss", 2: "gone"}, epoch=5)
            await old.records(scalar(1, step=4), scalar(2, step=4, series=2))
            await old.acknowledged(2)
            new = await harness.client().begin(epoch=6, purge_step=3)
            await new.acknowledged(0)
            assert shown(harness) == ["loss 4", "gone 4"]
            await new.records(scalar(1, step=3), scalar(2, step=4))
            await new.acknowledged(2)
            # Told again after a reconnect.
            await new.cut()
            await new.open(2)
            await new.attach()
            await new.send(definitions=definitions("run", epoch=6, purge_step=3))
            await new.records(scalar(3, step=5))
            await new.acknowledged(3)
            # One of the same launch, and one that wants to purge but is older.
            sibling = await harness.client().begin(epoch=6, purge_step=3)
            await sibling.records(scalar(1, step=6))
            await sibling.acknowledged(1)
            older = await harness.client().begin(epoch=5, purge_step=0)
            await older.records(scalar(1, step=0))
            await older.acknowledged(1)
            assert shown(harness) == [
                *("loss 4", "gone 4", "START 3", "START 3", "loss,gone 3"),
                *("loss 3", "loss 4", "loss 5", "loss 6"),
            ]
            assert reasons(harness) == {"SUPERSEDED": 1}
            (run,) = harness.status().runs
            assert run.steps_backwards == 0

    run_async(test, tmp_path)


def test_only_older_writers_of_other_sessions_are_superseded(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            clients = {
                epoch: await harness.client().begin(tags={1: f"by {epoch}"}, epoch=epoch)
                for epoch in (0, 4, 8)
            }
            new = await harness.client().begin(tags={1: "old in the same session"}, epoch=3)
            await new.send(
                definitions=definitions("run", {11: "new"}, run=2, epoch=6, purge_step=0)
            )
            await new.records(scalar(1, series=11))
            await new.acknowledged(1)
            for client in clients.values():
                await client.records(scalar(1))
                await client.acknowledged(1)
            await new.records(scalar(2, series=1))
            await new.acknowledged(2)
            tags = {tag for _, tag, _ in values_of(harness)}
            assert tags == {"by_0", "by_8", "new", "old_in_the_same_session"}
            assert not clients[0].rejected
            await clients[4].until(lambda: len(clients[4].rejected) == 1)
            (rejected,) = clients[4].rejected
            assert rejected.reason == pb.SUPERSEDED
            assert (rejected.sequence, rejected.records) == (1, 1)
            assert "is higher: 6; that of this writer is 4," in rejected.message
            assert "BOARDD_EPOCH" in rejected.message

    run_async(test, tmp_path)


def test_the_purge_comes_where_the_first_record_of_its_writer_is(tmp_path: Path) -> None:
    """Also if records of other writers of the session come with it in one message."""

    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "old"}, epoch=1)
            purging = definitions("run", {11: "new"}, run=2, epoch=2, purge_step=7)
            curves = definitions("run", {12: "curve"}, run=2, sub_run="c", epoch=2, purge_step=7)
            await client.send(definitions=purging)
            await client.send(definitions=pb.Definitions(series=curves.series))
            await client.records(
                *(scalar(1), scalar(2), scalar(3, series=11), scalar(4), scalar(5, series=12))
            )
            await client.acknowledged(5)
            events = shown(harness)
            assert events[:5] == ["old 1", "old 2", "START 7", "START 7", "old 7"]
            assert sorted(events[5:]) == ["new 3", "old 4"]
            (file,) = harness.files("run/c")
            assert [event.step for event in events_of(file)[1:]] == [7, 7, 5]

    run_async(test, tmp_path)


def test_a_purge_that_could_not_be_written_has_taken_nothing_over(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            old = await harness.client().begin(epoch=5)
            await old.records(scalar(1, step=1))
            await old.acknowledged(1)
            new = await harness.client().begin(epoch=7, purge_step=0)
            (harness.root / "run").rename(harness.root / "moved")
            (harness.root / "run").touch()
            await new.records(scalar(1, step=2))
            await new.acknowledged(1)
            assert reasons(harness) == {"RUN_REFUSED": 1}
            (harness.root / "run").unlink()
            between = await harness.client().begin(epoch=6)
            await between.records(scalar(1, step=3))
            await between.acknowledged(1)
            assert shown(harness) == ["loss 3"]
            assert reasons(harness) == {"RUN_REFUSED": 1}

    run_async(test, tmp_path)


def test_a_run_may_be_told_again_with_a_later_epoch_of_its_process(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            child = await harness.client().begin(tags={1: "child"}, epoch=5, latest_epoch=6)
            new = await harness.client().begin(tags={1: "new"}, epoch=6, purge_step=0)
            old = await harness.client().begin(tags={1: "old"}, epoch=5)
            for client in (new, child, old):
                await client.records(scalar(1))
                await client.acknowledged(1)
            assert {tag for _, tag, _ in values_of(harness)} == {"new", "child"}
            await old.send(definitions=definitions("run", {1: "old"}, epoch=5, latest_epoch=6))
            await old.send(definitions=definitions("run", {2: "sub"}, sub_run="s", epoch=5))
            await old.records(scalar(2), scalar(3, series=2))
            await old.acknowledged(3)
            assert {tag for _, tag, _ in values_of(harness)} == {"new", "child", "old"}
            assert reasons(harness) == {"SUPERSEDED": 1}
            await old.send(definitions=definitions("run", {1: "old"}, epoch=7))
            assert await old.end() == grpc.StatusCode.INVALID_ARGUMENT

    run_async(test, tmp_path)


def test_a_purge_without_an_epoch_is_refused(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin(purge_step=3)
            await client.records(scalar(1))
            await client.acknowledged(1)
            await client.until(lambda: len(client.refused) == 1)
            assert client.refused[0].reason == pb.UNSUPPORTED
            assert "purge_step 3 without an epoch" in client.refused[0].message

    run_async(test, tmp_path)


def test_what_comes_too_late_for_its_place_is_written_and_counted(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            one = await harness.client().begin(tags={1: "loss", 2: "of one"})
            other = await harness.client().begin(tags={1: "loss", 2: "of the other"})
            await until(lambda: [run.series for run in harness.status().runs] == [3])
            await one.records(scalar(1, step=0), scalar(2, step=3))
            await other.records(scalar(1, step=1), scalar(2, step=2))
            await one.acknowledged(2)
            await other.acknowledged(2)
            await other.records(scalar(3, step=2))
            await until(lambda: harness.status().runs[0].steps_backwards == 1)
            assert [step for step, _, _ in values_of(harness)] == [0, 1, 2, 3, 2]

    run_async(test, tmp_path)
