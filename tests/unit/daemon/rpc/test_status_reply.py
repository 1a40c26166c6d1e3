"""A status is made piece by piece, whatever it tells of."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from boardd.core.budget import Budgets
from boardd.core.durations import Timings
from boardd.core.runs.run_state import Member
from boardd.rpc.status_reply import status_reply, whole
from boardd.sessions.registry import Registry
from boardd_protos import boardd_pb2 as pb
from support.raw_client import histogram_payload, scalars, serving, summary
from support.service_reading import run_async

SESSIONS = 200
MAX_PIECE_SECS = 0.02


def test_no_piece_of_a_large_status_takes_long() -> None:
    registry = Registry(Budgets(), time.monotonic)
    for number in range(SESSIONS):
        live = registry.open(pb.OpenRequest(session_id=os.urandom(16), program="p" * 256))
        live.session.counters.rejected = dict.fromkeys(range(1, 20), 5)
        registry.runs.join(
            f"/run{number}", "/", "", (live.session.session_id, 1), Member(-1, 0, "")
        )
    pieces = status_reply(
        registry,
        started_at=0,
        uptime_secs=1,
        logdir_roots=[],
        addresses=[],
        held=registry.held(),
        timings=Timings(),
    )
    status = next(pieces)
    longest_secs, begun = 0.0, time.thread_time()
    for _ in pieces:
        longest_secs = max(longest_secs, time.thread_time() - begun)
        begun = time.thread_time()
    assert longest_secs < MAX_PIECE_SECS
    assert (len(status.sessions), len(status.runs)) == (SESSIONS, SESSIONS)
    assert status.counters.rejected == [
        pb.RejectCount(reason=count.reason, records=5 * SESSIONS)
        for count in status.sessions[0].counters.rejected
    ]


@pytest.mark.usefixtures("no_defects")
def test_budgets_and_durations_are_told(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, Budgets(max_runs=70)) as harness:
            client = await harness.client().begin(tags={1: "loss", 2: "weights"})
            values = np.arange(1000, dtype=np.float32)
            await client.tensor(2, values)
            await client.records(scalars(1, 1), summary(2, histogram_payload(values), series=2))
            await client.acknowledged(2)
            for _ in range(2):
                assert (await client.flush(2, level=pb.SYNCED)).reached
            reply = await whole(harness.service.status())
        budgets = {budget.name: (budget.held, budget.limit) for budget in reply.budgets}
        assert budgets["max-runs"] == (1, 70)
        assert budgets["max-sessions"] == (1, Budgets().max_sessions)
        assert budgets["intake-bytes"] == (0, Budgets().intake_bytes)
        assert budgets["run-descriptors"][0] == 2
        assert all(held <= limit for held, limit in budgets.values())
        counts = {duration.name: sum(duration.counts) for duration in reply.durations}
        assert counts["reduction"] == 1
        assert counts["write"] >= 1
        assert counts["sync"] == 1

    run_async(test, tmp_path)
