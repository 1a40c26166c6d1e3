"""What a service takes from other daemons, and what it passes on."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from boardd.core.groups.entries import Attempt, Entry, Joined, Left, Scalars, Tag
from boardd.core.groups.limits import GroupLimits
from boardd.core.runs.marks import member_key
from boardd.events.tfrecord import FOOTER_BYTES, HEADER_BYTES
from boardd.relay.relay import Batch, NotTakenError, UnreachableError
from boardd.runs.groups import forward_log
from boardd.runs.groups.host_leases import HostLeases
from boardd.runs.journal.journal_entries import encode_entry
from boardd.runs.journal.relayed_entries import NumberedEntry, decode_relayed, encode_relayed
from boardd_protos import boardd_pb2 as pb
from support.raw_client import (
    Harness,
    end_run,
    histogram_payload,
    scalar,
    serving,
    summary,
)
from support.service_reading import run_async, steps_of
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")

SESSION, PRODUCER = b"s" * 16, b"p" * 16
JOINED = Joined(
    SESSION, 1, Attempt(5, "job", 0), 2, "host", 7, False, per_rank="scalars", series="rank_1"
)
TAGS = [Tag(b"loss", "scalar", "mean")]


def scalars(*steps: int) -> Scalars:
    column = np.array(steps, np.int64)
    tag = np.zeros(len(steps), np.intp)
    return Scalars(SESSION, tag, column, column + 0.5, column * 2.0)


def batch(*entries: Entry, first: int = 0, run: str = "run", joined: Joined = JOINED) -> Batch:
    numbered = [
        NumberedEntry(first + place, entry, encode_entry(entry)[HEADER_BYTES:-FOOTER_BYTES])
        for place, entry in enumerate(entries)
    ]
    data = encode_relayed(numbered, TAGS, {SESSION: joined})
    return Batch(PRODUCER, run, first, first + len(entries), 0, data)


def test_a_batch_becomes_a_rank_of_the_run_of_that_name(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            take = harness.service.take_relayed
            assert await take(batch(JOINED, scalars(1, 2), run="a/run")) == 2
            assert await take(batch(scalars(3), Left(SESSION), first=2, run="a/run")) == 4
            await until(lambda: steps_of(harness, "a/run/rank_1") == [1, 2, 3])

    run_async(test, tmp_path)


def test_a_batch_that_leaves_a_gap_is_not_taken(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            take = harness.service.take_relayed
            assert await take(batch(JOINED, scalars(1))) == 2
            assert await take(batch(scalars(9), first=5)) == 2
            assert await take(batch(scalars(2), Left(SESSION), first=2)) == 4
            await until(lambda: steps_of(harness, "run/rank_1") == [1, 2])

    run_async(test, tmp_path)


@pytest.mark.parametrize(
    ("run", "changes", "why"),
    [
        ("../run", {}, "contains '..'"),
        ("link/run", {}, "not beneath a logdir root"),
        ("run", {"rank": 2}, "rank 2 of a world of 2"),
        ("run", {"per_rank": "some"}, "per_rank 'some'"),
        ("run", {"series": "rank_0"}, "no directory of rank 1"),
        ("run", {"series": "../../rank_1/run"}, "no directory of rank 1"),
        ("run", {"series": "../../../../../../../../etc/rank_1"}, "no directory of rank 1"),
        ("run/.boardd-group", {}, "keeps for itself"),
    ],
)
def test_what_leads_elsewhere_is_refused(
    run: str, changes: dict[str, object], why: str, tmp_path: Path
) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            harness.root.mkdir(exist_ok=True)
            (harness.root / "link").symlink_to(tmp_path)
            refused = replace(JOINED, **changes)
            with pytest.raises(NotTakenError, match=why):
                await harness.service.take_relayed(batch(refused, run=run, joined=refused))
            assert not harness.status().runs

    run_async(test, tmp_path)


def test_a_batch_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            whole = batch(JOINED, scalars(1))
            for data in (b"\xff\xff", encode_relayed([], [], {})[:0] + b"\x08\x07"):
                with pytest.raises(NotTakenError, match="cannot be read"):
                    await harness.service.take_relayed(replace(whole, data=data))

    run_async(test, tmp_path)


@pytest.mark.parametrize(
    ("tag", "why"),
    [
        (Tag(b"loss", "scalar", "median"), "cannot reduce by 'median'"),
        (Tag(b"loss", "hologram", "mean"), "does not know the kind 'hologram'"),
        (Tag(b"loss", "histogram", "mean"), "is of the kind 'histogram'"),
        (Tag(b"", "scalar", "mean"), "a tag of 0 bytes"),
    ],
)
def test_what_could_not_be_merged_is_refused_before_it_is_kept(
    tag: Tag, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            take = harness.service.take_relayed
            with monkeypatch.context() as patch:
                patch.setitem(globals(), "TAGS", [tag])
                refused = batch(JOINED, scalars(1))
            with pytest.raises(NotTakenError, match=why):
                await take(refused)
            assert await take(batch(JOINED, scalars(1), Left(SESSION))) == 3
            await until(lambda: steps_of(harness, "run/rank_1") == [1])

    run_async(test, tmp_path)


def test_a_peer_cannot_take_the_place_of_a_local_session(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            local = await harness.client(SESSION).begin(rank=0, world_size=2)
            await local.records(scalar(1, step=1))
            await local.acknowledged(1)
            # It has learned the session's id, and sends what would make its records known.
            far, joined = 1 << 40, replace(JOINED, attempt=Attempt(0, "", 0))
            attack = batch(joined, first=far, joined=joined)
            attack = replace(attack, producer=member_key(SESSION, 0), oldest=far)
            assert await harness.service.take_relayed(attack) == far + 1
            await local.records(scalar(2, step=2), end_run(3))
            await local.acknowledged(3)
            honest = batch(joined, scalars(1, 2), Left(SESSION), joined=joined)
            assert await harness.service.take_relayed(honest) == 3
            await until(lambda: steps_of(harness, "run/min") == [1, 2])  # both are in both points

    run_async(test, tmp_path)


def test_what_is_another_kind_at_another_host_is_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            local = await harness.client().begin(rank=0, world_size=2)
            values = np.arange(3.0)
            await local.tensor(1, values)
            await local.records(summary(1, histogram_payload(values)))
            await local.acknowledged(1)
            joined = replace(JOINED, attempt=Attempt(0, "", 0))
            relayed = batch(joined, scalars(1, 2), scalars(3), joined=joined)
            assert await harness.service.take_relayed(relayed) == 3
            await until(lambda: group_of(harness).kind_conflicts == 3)
            assert caplog.text.count("values of another host: tag 'loss' is a histogram") == 1
            await local.records(end_run(2))
            assert (await local.close()).closed

    run_async(test, tmp_path)


def group_of(harness: Harness) -> pb.GroupStatus:
    (group,) = (run.group for run in harness.status().runs if run.HasField("group"))
    return group


def test_the_status_tells_how_the_ranks_of_a_run_get_along(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            local = await harness.client().begin(rank=0, world_size=2)
            await local.records(*(scalar(number) for number in range(1, 8)))
            await local.acknowledged(7)
            joined = replace(JOINED, attempt=Attempt(0, "", 0))
            await harness.service.take_relayed(batch(joined, scalars(1, 4, 3), joined=joined))
            await until(lambda: group_of(harness).late == 1)
            group = group_of(harness)
            assert group.directory == str(harness.root / "run")
            assert (group.world_size, group.ranks) == (2, 2)
            assert (group.last_rank, group.step_lag, group.open_points) == (1, 3, 3)
            (journal,) = (run for run in harness.status().runs if run.HasField("group"))
            assert journal.written == 7  # what was relayed is counted at its host
            await local.records(end_run(8))
            assert (await local.close()).closed

    run_async(test, tmp_path)


def test_a_host_that_is_not_heard_of_is_given_up_until_it_comes_back(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        # Whenever the lease ends, before or between the calls, the same is to be seen.
        limits = GroupLimits(host_secs=0.1, lag_points=1 << 40, lag_secs=1e9)
        async with serving(path, limits=limits) as harness:
            local = await harness.client().begin(rank=0, world_size=2)
            joined = replace(JOINED, attempt=Attempt(0, "", 0))
            take = harness.service.take_relayed
            await take(batch(joined, scalars(1), joined=joined))
            await local.records(*(scalar(number) for number in range(1, 4)))
            await until(lambda: steps_of(harness, "run/min") == [1])
            await until(lambda: {2, 3} <= {*steps_of(harness)})  # without the host
            await take(batch(scalars(3, 4), first=2, joined=joined))
            await local.records(scalar(4))
            await until(lambda: steps_of(harness, "run/min") == [1, 4])
            await until(lambda: group_of(harness).late == 1)
            await local.records(end_run(5))
            assert (await local.close()).closed

    run_async(test, tmp_path)


def test_a_batch_without_entries_says_that_a_host_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[bytes] = []
    really_heard = HostLeases.heard

    def hear(leases: HostLeases, producer: bytes, now: float) -> None:
        heard.append(producer)
        really_heard(leases, producer, now)

    monkeypatch.setattr(HostLeases, "heard", hear)

    async def test(path: Path) -> None:
        async with serving(path) as harness:
            take = harness.service.take_relayed
            assert await take(batch(JOINED, scalars(1))) == 2
            before = journal_of(harness)
            assert await take(batch(first=2)) == 2
            assert await take(batch(first=7)) == 2  # which asks for what is missing
            assert len(heard) == 3
            assert len(set(heard)) == 1
            assert journal_of(harness) == before

    run_async(test, tmp_path)


def journal_of(harness: Harness) -> list[bytes]:
    return [path.read_bytes() for path in harness.files("run/.boardd-group")]


class Aggregator:
    """A relay whose other end writes nothing until it is told to."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.answers = asyncio.Event()

    async def send(self, sent: Batch) -> int:
        if not self.answers.is_set():
            raise UnreachableError("nobody is there")
        self.batches.append(sent)
        return sent.end

    async def close(self) -> None:
        pass


def test_records_are_written_once_they_are_in_the_journal_and_then_passed_on(
    tmp_path: Path,
) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            relay = Aggregator()
            harness.service.forward(relay, "somewhere:1")
            client = await harness.client().begin(rank=0, world_size=2)
            await client.records(*(scalar(number) for number in range(1, 6)))
            await client.acknowledged(5)
            await until(lambda: "nobody is there" in harness.status().runs[0].forwarding)
            assert harness.status().runs[0].forwarding.startswith("forwarding to somewhere:1, ")
            relay.answers.set()
            await until(lambda: bool(relay.batches))
            await until(lambda: ", 0 entries behind" in harness.status().runs[0].forwarding)
            assert {one.run for one in relay.batches} == {"run"}
            await client.records(end_run(6))
            assert (await client.close()).closed
            await until(lambda: not harness.status().runs)
            assert [path.name for path in harness.root.glob("run/*")] == [".boardd-group"]

    run_async(test, tmp_path)


def test_a_host_with_nothing_to_pass_on_says_that_it_is_there(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            relay = Aggregator()
            relay.answers.set()
            harness.service.forward(relay, "somewhere:1", heartbeat_secs=0.01)
            client = await harness.client().begin(rank=0, world_size=2)
            await client.records(scalar(1))
            await until(lambda: sum(one.first == one.end for one in relay.batches) > 2)
            beats = [one for one in relay.batches if one.first == one.end]
            assert {decode_relayed(one.data).entries == [] for one in beats} == {True}
            assert {one.first for one in beats} <= {one.end for one in relay.batches} - {0}
            await client.records(end_run(2))
            assert (await client.close()).closed
            await until(lambda: not harness.status().runs)

    run_async(test, tmp_path)


def test_a_host_that_keeps_all_that_it_may_lets_clients_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward_log, "MEASURE_SECS", 0.0)

    async def test(path: Path) -> None:
        async with serving(path, retry_secs=0.02) as harness:
            relay = Aggregator()
            harness.service.forward(relay, "somewhere:1", max_bytes=1)
            client = await harness.client().begin(rank=0, world_size=2)
            logged = 0
            while not any("--max-forward-bytes" in run.trouble for run in harness.status().runs):
                logged += 1
                await client.records(scalar(logged))
                await asyncio.sleep(0.02)
            relay.answers.set()
            await client.acknowledged(logged)
            await until(lambda: not harness.status().runs[0].trouble)

    run_async(test, tmp_path)


def test_a_daemon_that_forwards_takes_nothing_from_others(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            harness.service.forward(Aggregator(), "somewhere:1")
            with pytest.raises(NotTakenError, match="--forward-to"):
                await harness.service.take_relayed(batch(JOINED))

    run_async(test, tmp_path)
