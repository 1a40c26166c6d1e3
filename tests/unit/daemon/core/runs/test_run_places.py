"""How many runs a client has is known without a look at those of others."""

from __future__ import annotations

import pytest
from boardd.core.budget import Budgets
from boardd.core.refusals import RefusedError
from boardd.core.runs.run_state import Member, Runs, RunState

MEMBER = Member(-1, 0, "")


def join(runs: Runs, session: bytes, number: int, path: str) -> RunState:
    return runs.join(path, "/", "", (session, number), MEMBER)


def test_the_sessions_of_one_client_share_its_part_of_the_runs() -> None:
    runs = Runs(Budgets(max_runs=64))
    for session, sharer in ((b"a", 1), (b"b", 1), (b"c", 2)):
        assert runs.sessions.take(session, sharer)
    for number in range(56):
        join(runs, b"ab"[number % 2 : number % 2 + 1], number, f"/{number}")
    for session in (b"a", b"b"):
        with pytest.raises(RefusedError, match="one client may have"):
            join(runs, session, 99, "/more")
    join(runs, b"c", 1, "/another")
    with pytest.raises(RefusedError, match="one client may have"):
        join(runs, b"c", 2, "/yet-another")
    runs.leave_run(runs.values()[-1], (b"c", 1))
    join(runs, b"c", 2, "/yet-another")
    ended = runs.values()[-1]
    ended.holders.clear()
    join(runs, b"c", 3, "/in-its-place")
    ended.pending = 1
    with pytest.raises(RefusedError, match="one client may have"):
        join(runs, b"c", 4, "/while-it-is-written")
    runs.leave(b"a")
    join(runs, b"c", 4, "/when-there-is-room")
