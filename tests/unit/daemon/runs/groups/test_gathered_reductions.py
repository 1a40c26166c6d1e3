"""Summaries of several ranks wait for each other, and are reduced in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd.runs.groups import gathered_reductions
from boardd_protos import boardd_pb2 as pb
from support.raw_client import RawClient, serving, summary
from support.service_reading import run_async

RANKS = 4
VALUES = np.arange(6, dtype=np.float32)


def histogram() -> pb.Payload:
    tensor = pb.Tensor(dtype="float32", shape=VALUES.shape)
    return pb.Payload(tensors=[tensor], histogram=pb.Histogram(count=3))


async def log(client: RawClient, sequence: int) -> None:
    await client.tensor(sequence, VALUES.tobytes())
    await client.records(summary(sequence, histogram()))


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
