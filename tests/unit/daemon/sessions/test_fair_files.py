"""What one session writes does not keep another's waiting."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from boardd.core.budget import Budgets
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.run_files import RunFiles
from boardd.sessions.live_session import LiveSession
from boardd.sessions.sessions import Sessions
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import Frame, FrameKind, encode
from support.service_reading import run_async
from support.waiting import DEADLINE_SECS, until

pytestmark = pytest.mark.usefixtures("no_defects")

RUNS = 30


async def session(sessions: Sessions, name: str, runs: int) -> LiveSession:
    """A session that has logged something to each of its runs, which are open."""
    live = sessions.open(pb.OpenRequest(session_id=name.encode().ljust(16), hostname=name))
    numbers = range(1, runs + 1)
    definitions = pb.Definitions(
        runs=[pb.RunDefinition(run=one, logdir=name, name=f"{one}", rank=-1) for one in numbers],
        series=[pb.SeriesDefinition(series=one, run=one, tag="loss") for one in numbers],
    )
    await sessions.receiver.define(live, definitions)
    await log(sessions, live, runs)
    await live.notice.wait(lambda: live.session.is_quiet, DEADLINE_SECS)
    return live


async def log(sessions: Sessions, live: LiveSession, runs: int, payload: bytes = b"") -> None:
    """Logs a record to each run: a scalar, or what has ``payload``."""
    kind = FrameKind.SUMMARY if payload else FrameKind.SCALAR
    begin = live.session.received_sequence
    frames = [
        encode(Frame(kind, 0, begin + one, begin, 1e9, one, 0.5, payload))
        for one in range(1, runs + 1)
    ]
    records = pb.Records(frames=b"".join(frames))
    await sessions.receiver.take(live, pb.ClientMessage(records=records), reads_ring=False)


@pytest.mark.parametrize("size_bytes", [0, 100_000], ids=["brief calls", "long calls"])
def test_a_session_with_many_files_to_write_delays_anothers_by_one(
    size_bytes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    append_once = RunFiles.append_once

    def noted(self: RunFiles, events: bytes, parts: Any) -> None:
        written.append(Path(self._run.path).parent.name)
        append_once(self, events, parts)

    payload = b""
    if size_bytes:
        text = pb.Text(markdown="x" * size_bytes)
        payload = pb.Payload(text=text).SerializeToString()

    async def test(path: Path) -> None:
        sessions = Sessions(Roots([path]), Budgets(writers=1), time.monotonic, 1.0)
        try:
            flood = await session(sessions, "flood", RUNS)
            other = await session(sessions, "other", 1)
            monkeypatch.setattr(RunFiles, "append_once", noted)
            is_open, is_held = threading.Event(), threading.Event()

            def hold() -> None:
                is_held.set()
                is_open.wait(DEADLINE_SECS)

            sessions.run_table.threads.submit(hold)
            await until(is_held.is_set)
            await log(sessions, flood, RUNS, payload)
            await log(sessions, other, 1, payload)
            table = sessions.run_table
            calls = (table._brief_calls._waiting, table.threads._waiting)
            await until(lambda: max(map(len, calls)) == RUNS + 1)
            is_open.set()
            for live in (flood, other):
                await live.notice.wait(lambda live=live: live.session.is_quiet, DEADLINE_SECS)
            assert written.count("flood") == RUNS
            assert written.index("other") <= 2, written
        finally:
            await sessions.close()

    run_async(test, tmp_path)
