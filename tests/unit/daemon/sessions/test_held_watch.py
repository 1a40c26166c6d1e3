"""Sessions are looked at for runs that hold them up: each on its own."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import pytest
from boardd.core.budget import Budgets
from boardd.core.session.session import Session
from boardd.runs.directories.logdir import Roots
from boardd.sessions import held_watch
from boardd.sessions.held_watch import HeldWatch
from boardd.sessions.sessions import Sessions
from boardd_protos import boardd_pb2 as pb
from support.service_reading import run_async
from support.waiting import until


def test_a_defect_of_one_session_keeps_no_other_from_being_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def test(path: Path) -> None:
        sessions = Sessions(Roots([path]), Budgets(), time.monotonic, 1.0)
        bad, good = (
            sessions.open(pb.OpenRequest(session_id=bytes([one] * 16))) for one in range(2)
        )
        looks: Counter[Session] = Counter()

        def look(session: Session, now: float) -> None:
            looks[session] += 1
            if session is bad.session:
                raise ZeroDivisionError

        monkeypatch.setattr(Session, "look", look)
        monkeypatch.setattr(held_watch, "LOOK_SECS", 0.001)
        watch = HeldWatch()
        for live in (bad, good):
            live.session._progress.open_parts = 1
            watch.begin(live)
        await until(lambda: looks[good.session] >= 3)
        assert looks[bad.session] >= 2
        for live in (bad, good):
            live.session._progress.open_parts = 0
        await until(lambda: not watch._watched)
        await sessions.close()

    run_async(test, tmp_path)
    assert caplog.text.count("session 1 cannot be looked at") == 1
