"""The writer of a group, in a service: what it does about what it cannot write."""

from __future__ import annotations

import shutil
from collections import deque
from pathlib import Path

import pytest
from boardd.core.groups.entries import Joined
from boardd.core.groups.group import Group
from boardd.runs.groups import group_log, group_recorder, group_writer
from boardd.runs.groups.writer_life import TABLE, Event, State
from boardd.runs.writing.run_order import Item
from boardd_protos import boardd_pb2 as pb
from support.raw_client import (
    Harness,
    RawClient,
    end_run,
    scalar,
    serving,
    summary,
)
from support.service_reading import run_async, steps_of
from support.waiting import until

RANKS = 2


@pytest.fixture
def short_journals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Journals take short segments, and are looked through all the time."""
    monkeypatch.setattr(group_recorder, "SEGMENT_BYTES", 500)
    for module in (group_log, group_writer):
        monkeypatch.setattr(module, "RELEASE_SECS", 0.01)


async def begun(harness: Harness) -> list[RawClient]:
    ranks = [harness.client() for _ in range(RANKS)]
    for rank, client in enumerate(ranks):
        definition = {"rank": rank, "world_size": RANKS, "per_rank": "none"}
        await client.begin(**definition)
    return ranks


async def log(ranks: list[RawClient], first: int, last: int) -> None:
    for number in range(first, last + 1):
        for client in ranks:
            await client.records(scalar(number))
        for client in ranks:
            await client.acknowledged(number)


def runs_of(harness: Harness) -> dict[str, pb.RunStatus]:
    """The open runs by their path beneath the root; the journal's is the group's."""
    return {str(Path(run.path).relative_to(harness.root)): run for run in harness.status().runs}


def segments(harness: Harness) -> list[str]:
    return [path.name for path in harness.files("run/.boardd-group")]


@pytest.mark.usefixtures("no_defects", "short_journals")
def test_a_journal_is_shortened_though_a_directory_of_its_points_is_refused(
    tmp_path: Path,
) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            (harness.root / "run").mkdir(parents=True)
            (harness.root / "run" / "min").symlink_to(tmp_path)
            ranks = await begun(harness)
            await log(ranks, 1, 100)
            await until(lambda: len(segments(harness)) < 4)
            assert segments(harness)[-1] > "journal.boardd.0000000010"
            await until(lambda: [*steps_of(harness, "run/max")] == [*range(1, 101)])
            for client in ranks:
                await client.records(end_run(101))
                assert (await client.close()).closed
            await until(lambda: not harness.status().runs)

    run_async(test, tmp_path)


@pytest.mark.usefixtures("no_defects")
def test_a_refused_journal_closes_what_its_points_were_written_to(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, retry_secs=0.01) as harness:
            ranks = await begun(harness)
            await log(ranks, 1, 3)
            await until(lambda: [*steps_of(harness, "run/min")] == [1, 2, 3])
            journal = harness.root / "run" / ".boardd-group"
            shutil.rmtree(journal)
            journal.write_text("in the way")
            await ranks[0].records(scalar(4))
            await ranks[0].until(lambda: bool(ranks[0].rejected))
            await until(lambda: [*runs_of(harness)] == ["run/.boardd-group"])
            journal.unlink()
            again = await begun(harness)  # somebody new may try once more
            await log(again, 1, 2)
            for client in again:
                await client.records(end_run(3))
                assert (await client.close()).closed

    run_async(test, tmp_path)


def test_a_defect_closes_what_points_were_written_to_and_the_group_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            ranks = await begun(harness)
            await log(ranks, 1, 3)
            await until(lambda: [*steps_of(harness, "run/min")] == [1, 2, 3])
            with monkeypatch.context() as patch:
                patch.setattr(Group, "due", lambda self, now, drain=False: 1 / 0)
                await ranks[0].records(scalar(4))
                await ranks[0].until(lambda: bool(ranks[0].rejected))
                await until(lambda: [*runs_of(harness)] == ["run/.boardd-group"])
            await ranks[1].records(scalar(4))
            await log(ranks, 5, 7)
            await until(lambda: [*steps_of(harness, "run/min")][-3:] == [5, 6, 7])
            for client in ranks:
                await client.records(end_run(8))
                assert (await client.close()).closed
            await until(lambda: not harness.status().runs)

    run_async(test, tmp_path)


def test_what_a_defect_rejects_does_not_wait_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            ranks = await begun(harness)
            await log(ranks, 1, 1)
            table = harness.service._sessions.run_table
            queue, (writer,) = table._reductions._lanes.queue, table.groups
            order = writer._order

            def fail_once() -> None:
                monkeypatch.undo()
                raise ZeroDivisionError

            monkeypatch.setattr(order, "take", fail_once)
            await ranks[0].records(summary(2, pb.Payload(text=pb.Text(markdown="a"))))
            await ranks[0].until(lambda: bool(ranks[0].rejected))
            await until(lambda: queue._unused_bytes == 0)
            await ranks[0].records(summary(3, pb.Payload(text=pb.Text(markdown="a"))))
            await ranks[0].acknowledged(3)
            await until(lambda: queue._unused_bytes == 0)
            for client in ranks:
                await client.records(end_run(4))
                assert (await client.close()).closed

    run_async(test, tmp_path)


@pytest.mark.usefixtures("no_defects")
def test_who_is_heard_of_with_the_end_of_patience_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            ranks = await begun(harness)
            await log(ranks, 1, 1)
            (writer,) = harness.service._sessions.run_table.groups
            members, order, take = writer._members, writer._order, writer._order.take
            lost: list[Joined] = []
            find_lost = members.lost

            def take_from_the_unheard() -> deque[Item]:
                """As if a journal had named all ranks, and none was heard of but in this batch."""
                monkeypatch.setattr(order, "take", take)
                members._asked.clear()
                members._unheard = frozenset(writer.log.group.live_sessions)
                members._give_up_at = 0.0
                return take()

            def note_lost(group: Group, now: float) -> list[Joined]:
                found = find_lost(group, now)
                lost.extend(found)
                return found

            monkeypatch.setattr(members, "lost", note_lost)
            monkeypatch.setattr(order, "take", take_from_the_unheard)
            await ranks[0].records(scalar(2))
            await ranks[0].acknowledged(2)
            heard = {members._of((ranks[0].session_id, 1)).session}
            assert lost
            assert heard.isdisjoint(joined.session for joined in lost)
            for client, last in zip(ranks, (2, 1), strict=True):
                await client.records(end_run(last + 1))
                assert (await client.close()).closed

    run_async(test, tmp_path)


@pytest.mark.parametrize("state", set(State) - {State.OVER})
def test_every_state_of_a_writer_ends_whatever_fails(state: State) -> None:
    seen = {state}
    while state is not State.OVER:
        events = [event for event in (Event.FAILED, Event.CLOSED) if event in TABLE[state]]
        state = TABLE[state][events[0]]
        assert state not in seen or state is State.OVER
        seen.add(state)
