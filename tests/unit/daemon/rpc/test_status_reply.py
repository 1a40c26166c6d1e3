"""A status is made piece by piece, whatever it tells of."""

from __future__ import annotations

import os
import time

from boardd.core.budget import Budgets
from boardd.core.runs.run_state import Member
from boardd.rpc.status_reply import status_reply
from boardd.sessions.registry import Registry
from boardd_protos import boardd_pb2 as pb

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
    pieces = status_reply(registry, started_at=0, uptime_secs=1, logdir_roots=[], addresses=[])
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
