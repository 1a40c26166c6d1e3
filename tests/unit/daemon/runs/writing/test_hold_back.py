"""How long parts of a run wait for those of its other sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence

import numpy as np
import pytest
from boardd.core.intake.columns import Columns
from boardd.core.runs.run_state import Member, RunState
from boardd.core.session.batch import EndPart, PurgePart, RunPart, ScalarPart
from boardd.runs.writing import hold_back
from boardd.runs.writing.hold_back import BEGIN_SECS, HOLD_SECS, HoldBack
from support.waiting import until

A, B = b"a", b"b"


class Held:
    """A run with sessions, and what was released of it: steps, "end" and "purge"."""

    def __init__(self, *sessions: bytes, has_siblings: bool = False) -> None:
        self.run = RunState("/run", "/run", "", 10)
        for session in sessions:
            self.run.members.join((session, 1), Member(-1, 0, "", has_siblings=has_siblings))
            self.run.holders.add((session, 1))
        self.released: list[int | str] = []
        self.held = HoldBack(self.run, self._release)

    def log(self, session: bytes, *steps: int, tag: int = 0) -> None:
        count = len(steps)
        columns = Columns(
            np.arange(1, count + 1, dtype=np.uint64),
            np.array(steps, np.int64),
            np.zeros(count),
            np.zeros(count),
        )
        self.held.admit(
            [
                ScalarPart(
                    *(session, self.run, None, 1, count, count),
                    columns=columns,
                    tag_index=np.full(count, tag, np.intp),
                )
            ]
        )

    def end(self, session: bytes) -> None:
        self.run.holders.discard((session, 1))
        self.held.admit([EndPart(session, self.run, None, 9, 1, 1)])

    def purge(self, session: bytes) -> None:
        self.held.admit([PurgePart(session, self.run, None, 0, 0, 1, epoch=1, step=0)])

    def _release(self, parts: Sequence[RunPart]) -> None:
        for part in parts:
            if isinstance(part, ScalarPart):
                self.released += part.columns.step.tolist()
            else:
                self.released.append("end" if isinstance(part, EndPart) else "purge")


def on_loop(test: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 120.0))


def test_with_one_session_nothing_waits() -> None:
    async def test() -> None:
        run = Held(A)
        run.log(A, 5, 6)
        run.log(A, 1)
        run.end(A)
        assert run.released == [5, 6, 1, "end"]
        assert len(run.held) == 0

    on_loop(test)


def test_parts_of_several_sessions_wait_a_moment_and_come_in_order() -> None:
    async def test() -> None:
        run = Held(A, B)
        begun = asyncio.get_running_loop().time()
        run.log(A, 1, 4)
        run.log(B, 0, 3, 9)
        assert run.released == []
        await until(lambda: bool(run.released))
        assert asyncio.get_running_loop().time() - begun >= HOLD_SECS - 0.15
        assert run.released == [0, 1, 3, 4, 9]
        # Late: it is written all the same.
        run.log(A, 2)
        await until(lambda: len(run.released) == 6)
        assert len(run.held) == 0

    on_loop(test)


def test_when_all_sessions_have_ended_nothing_waits_any_more() -> None:
    async def test() -> None:
        run = Held(A, B)
        run.log(A, 1)
        run.end(A)
        run.log(B, 0, 2)
        assert run.released == []
        run.end(B)
        assert run.released == [0, 1, "end", 2, "end"]

    on_loop(test)


def test_a_purge_divides_what_came_before_from_what_comes_after() -> None:
    async def test() -> None:
        run = Held(A, B)
        run.log(A, 7)
        run.purge(B)
        run.log(B, 3)
        run.log(A, 1)
        assert run.released == [7, "purge"]
        await until(lambda: len(run.released) == 4)
        assert run.released == [7, "purge", 1, 3]

    on_loop(test)


def test_a_forked_writer_waits_for_its_siblings_at_the_beginning_only() -> None:
    async def test() -> None:
        begun = asyncio.get_running_loop().time()
        run = Held(A, has_siblings=True)
        run.log(A, 1)
        run.end(A)
        assert run.released == []
        run.run.holders.add((B, 1))
        run.log(B, 0)
        await until(lambda: bool(run.released))
        assert asyncio.get_running_loop().time() >= begun + BEGIN_SECS - 0.15
        assert run.released == [0, 1, "end"]
        await until(lambda: asyncio.get_running_loop().time() > begun + BEGIN_SECS)
        run.log(B, 2)
        assert run.released[-1] == 2

    on_loop(test)


def test_a_session_that_logs_under_other_tags_is_waited_for_at_its_beginning_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hold_back, "BEGIN_SECS", 0.1)

    async def test() -> None:
        loop = asyncio.get_running_loop()
        run = Held(A, B)
        met = loop.time()
        run.log(A, 1)
        run.log(B, 2, tag=1)
        assert run.released == []
        await until(lambda: len(run.released) == 2 and loop.time() > met + 0.1)
        run.log(A, 3)
        run.log(B, 4, tag=1)
        assert run.released == [1, 2, 3, 4]
        run.run.holders.add((b"c", 1))
        run.log(A, 5)
        assert run.released == [1, 2, 3, 4]

    on_loop(test)


def test_sessions_that_share_a_tag_are_waited_for_under_their_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hold_back, "BEGIN_SECS", 0.0)

    async def test() -> None:
        run = Held(A, B, b"c")
        run.log(A, 1)
        run.log(B, 2)
        await until(lambda: len(run.released) == 2)
        run.log(b"c", 9, tag=1)
        assert run.released == [1, 2, 9]
        run.log(A, 4, tag=2)
        run.log(B, 3, tag=2)
        assert run.released == [1, 2, 9]
        await until(lambda: len(run.released) == 5)
        assert run.released == [1, 2, 9, 3, 4]

    on_loop(test)


def test_a_session_that_has_not_shared_a_tag_for_long_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hold_back, "BEGIN_SECS", 0.0)
    monkeypatch.setattr(hold_back, "LATELY_SECS", 0.5)

    async def test() -> None:
        loop = asyncio.get_running_loop()
        run = Held(A, B)
        run.log(B, 1)
        assert run.released == [1]
        run.log(A, 2)
        shared = loop.time()
        assert run.released == [1]
        await until(lambda: len(run.released) == 2 and loop.time() > shared + 0.5)
        run.log(A, 3)
        assert run.released == [1, 2, 3]
        run.log(B, 0)
        assert run.released == [1, 2, 3]

    on_loop(test)
