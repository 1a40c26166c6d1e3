"""Summaries of several ranks wait for each other, and are reduced in one call."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import SummaryPart
from boardd.runs.groups import gathered_reductions
from boardd.runs.groups.gathered_reductions import GatheredReductions
from boardd.runs.writing.reduction_pool import Reduced, ReductionPool
from boardd_protos import boardd_pb2 as pb
from support.raw_client import Harness, RawClient, serving, summary
from support.service_reading import events_of, run_async
from support.waiting import until

RANKS = 4
VALUES = np.arange(6, dtype=np.float32)


def histogram() -> pb.Payload:
    tensor = pb.Tensor(dtype="float32", shape=VALUES.shape)
    return pb.Payload(tensors=[tensor], histogram=pb.Histogram(count=3))


async def log(client: RawClient, sequence: int) -> None:
    await client.tensor(sequence, VALUES.tobytes())
    await client.records(summary(sequence, histogram()))


def counts(harness: Harness) -> list[float]:
    """How many values each histogram that is written shows."""
    return [
        value.histo.num
        for path in harness.files()
        for event in events_of(path)
        for value in event.summary.value
        if value.HasField("histo")
    ]


@pytest.mark.usefixtures("no_defects")
def test_as_many_as_are_waited_for_are_reduced_together_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = gathered_reductions.reduce_to_shares
    calls: list[int] = []

    def counted(records: Sequence[Any], max_working_bytes: int) -> Any:
        calls.append(len(records))
        return together(records, max_working_bytes)

    monkeypatch.setattr(gathered_reductions, "reduce_to_shares", counted)
    monkeypatch.setattr(gathered_reductions, "GATHER_SECS", 3600.0)
    monkeypatch.setattr(gathered_reductions, "GATHERED_RECORDS", RANKS)

    async def test(path: Path) -> None:
        async with serving(path) as harness:
            ranks = [harness.client() for _ in range(RANKS)]
            for rank, client in enumerate(ranks):
                await client.begin(rank=rank, world_size=RANKS, per_rank="none")
            for client in ranks:
                await log(client, 1)
            for client in ranks:
                await client.acknowledged(1)
            assert calls == [RANKS]
            monkeypatch.setattr(gathered_reductions, "GATHER_SECS", 0.0)
            await log(ranks[0], 2)  # nobody else comes
            await ranks[0].acknowledged(2)

    run_async(test, tmp_path)


def test_what_waits_is_dropped_at_the_end_and_so_is_its_timer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathered_reductions, "GATHER_SECS", 0.0)

    async def test(path: Path) -> None:
        run = RunState(str(path), str(path), "", 10)
        run.tag_index("tag")
        pool, delivered = ReductionPool(1, 1 << 20), list[Reduced]()
        ended, other = (GatheredReductions(pool, delivered.extend) for _ in range(2))
        for ticket, gathered in enumerate((ended, other)):
            part = SummaryPart(bytes(16), run, None, 1, 1, 0, 0, 0, 0.0, b"", {})
            gathered.add([(ticket, part)])
        ended.close()
        ended.close()
        await until(lambda: delivered != [])
        assert [ticket for ticket, _, _ in delivered] == [1]
        pool.close()

    run_async(test, tmp_path)


@pytest.mark.usefixtures("no_defects")
def test_what_waits_when_the_daemon_is_killed_is_made_once_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_ids = [bytes([rank]) * 16 for rank in range(RANKS)]
    monkeypatch.setattr(gathered_reductions, "GATHER_SECS", 3600.0)
    monkeypatch.setattr(gathered_reductions, "GATHERED_RECORDS", RANKS + 1)

    async def logging(harness: Harness) -> list[RawClient]:
        ranks = [harness.client(session_id) for session_id in session_ids]
        for rank, client in enumerate(ranks):
            await client.begin(rank=rank, world_size=RANKS, per_rank="none")
            await log(client, 1)
        return ranks

    async def test(path: Path) -> None:
        async with serving(path / "killed") as harness:
            ranks = await logging(harness)
            await until(lambda: harness.status().counters.pending == RANKS)
            assert {client.written_sequence for client in ranks} == {0}
            # What a kill leaves.
            shutil.copytree(harness.root, path / "next" / "logs")
            await log(ranks[0], 2)
            await ranks[0].acknowledged(2)
        monkeypatch.setattr(gathered_reductions, "GATHER_SECS", 0.0)
        async with serving(path / "next") as harness:
            for client in await logging(harness):
                await client.acknowledged(1)
            await until(lambda: counts(harness))
            assert counts(harness) == [RANKS * VALUES.size]
            assert harness.status().counters.duplicates == 0

    run_async(test, tmp_path)
