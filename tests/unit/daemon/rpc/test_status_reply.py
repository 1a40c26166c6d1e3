"""A status is made piece by piece, whatever it tells of."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from pathlib import Path

import boardd
import numpy as np
import pytest
from boardd.core.budget import Budgets
from boardd.core.durations import Timings
from boardd.core.groups.limits import GroupLimits
from boardd.core.runs.run_state import Member
from boardd.relay.grpc_relay import GrpcRelay
from boardd.rpc.newcomers import Newcomers
from boardd.rpc.status_reply import status_reply, whole
from boardd.rpc.tcp_connections import TcpConnections
from boardd.runs.directories.logdir import Roots
from boardd.sessions.registry import Registry
from boardd.settings.config import OPTIONS
from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import TcpAddress
from boardd_protos.local_socket import HANDOVER_SUFFIX
from support.raw_client import histogram_payload, scalars, serving, summary
from support.service_reading import run_async
from support.spooled_runs import spool_at

DOCUMENTS = Path(boardd.__file__).parents[2] / "docs"
#: Bounds of a record or message, of which nothing is held.
OF_ONE_ITEM = {"max-tensor-bytes", "max-message-bytes"}

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
        roots=Roots(["/"]),
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
        assert budgets["max-series-per-run"][0] == budgets["max-series-per-session"][0] == 2
        assert budgets["max-open-bytes"] == (0, GroupLimits().max_open_bytes)
        assert budgets.pop("waiting-writes") == (0, 0)
        assert all(held <= limit for held, limit in budgets.values())
        counts = {duration.name: sum(duration.counts) for duration in reply.durations}
        assert counts["reduction"] == 1
        assert counts["write"] >= 1
        assert counts["sync"] == 1

    run_async(test, tmp_path)


def test_every_budget_is_told_and_documented(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        relay = GrpcRelay(TcpAddress("127.0.0.1", 1))
        async with serving(path, spool=spool_at(path / "spool")) as harness:
            harness.service.forward(relay, "elsewhere")
            reply = await whole(harness.service.status())
        await relay.close()
        told = {budget.name for budget in reply.budgets}
        told |= {held.budget for held in TcpConnections(1, Newcomers()).held()}
        flags = {option.name for option in OPTIONS}
        listed = set(re.findall(r"`--([a-z-]+)`", section("guarantees.md")))
        # Others are parts of it, and it holds nothing itself.
        assert listed - OF_ONE_ITEM - {"memory-bytes"} <= told
        assert {name for name in flags if name.startswith("max-")} <= listed
        assert told & flags - {"writers"} <= listed
        assert told - flags == set(re.findall(r"^\| `([a-z-]+)`", section("metrics.md"), re.M))

    run_async(test, tmp_path)


def test_connections_that_bring_no_map_are_held(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with peer:
                peer.connect(f"{harness.socket}{HANDOVER_SUFFIX}")

                async def unmapped() -> int:
                    reply = await whole(harness.service.status())
                    return {held.name: held.held for held in reply.budgets}["unmapped-connections"]

                while await unmapped() != 1:
                    await asyncio.sleep(0)
            while await unmapped():
                await asyncio.sleep(0)

    run_async(test, tmp_path)


def section(document: str) -> str:
    """What it says of budgets."""
    text = (DOCUMENTS / document).read_text()
    return re.split(r"^#+ Budgets$", text, flags=re.M)[1].partition("\n#")[0]
