"""Parts of several sessions in one run, put into the order of their steps."""

from __future__ import annotations

import random
from collections.abc import Iterable

import numpy as np
import pytest
from boardd.core.budget import Intake
from boardd.core.intake.columns import Columns
from boardd.core.runs.run_state import RunState
from boardd.core.session import interleave as module
from boardd.core.session.batch import Batch, EndPart, RunPart, ScalarPart, SummaryPart
from boardd.core.session.interleave import interleave
from boardd.core.session.progress import SessionProgress
from boardd.core.session.rejections import Rejections
from boardd_protos import boardd_pb2 as pb

A, B, C = b"a", b"b", b"c"


class Sessions:
    """Sessions that log scalars under one tag of a run; each counts what it handed out."""

    def __init__(self) -> None:
        self.run = RunState("/run", "/run", "", 10)
        self.intake = Intake(1 << 30)
        self.progress = {
            session: SessionProgress(session, 0, self.intake, Rejections()) for session in (A, B, C)
        }

    def scalars(
        self, session: bytes, steps: Iterable[int], *, tag: int = 0, time: float = 0.0
    ) -> ScalarPart:
        found = np.array(list(steps), np.int64)
        progress = self.progress[session]
        first = progress.received_sequence + 1
        sequence = np.arange(first, first + len(found), dtype=np.uint64)
        sequences = progress.accept(first, first + len(found) - 1, len(found))
        part = ScalarPart(
            session,
            self.run,
            sequences,
            first,
            len(found),
            64 * len(found),
            Columns(sequence, found, np.full(len(found), time), found.astype(np.float64)),
            np.full(len(found), tag, np.intp),
        )
        progress.hand_on(part, Batch())
        return part

    def summary(self, session: bytes, step: int) -> SummaryPart:
        progress = self.progress[session]
        sequence = progress.received_sequence + 1
        sequences = progress.accept(sequence, sequence, 1)
        part = SummaryPart(session, self.run, sequences, sequence, 1, 100, 0, step, 0.0, b"", {})
        progress.hand_on(part, Batch())
        return part

    def end(self, session: bytes) -> EndPart:
        progress = self.progress[session]
        sequence = progress.received_sequence + 1
        part = EndPart(session, self.run, progress.accept(sequence, sequence, 1), sequence, 1, 9)
        progress.hand_on(part, Batch())
        return part

    def write(self, parts: Iterable[RunPart]) -> None:
        for part in parts:
            self.progress[part.session_id].finish(part, 1)


def steps(parts: Iterable[RunPart]) -> list[int]:
    """The steps of records in order; an end is -1."""
    found: list[int] = []
    for part in parts:
        if isinstance(part, ScalarPart):
            found += part.columns.step.tolist()
        else:
            found.append(part.step if isinstance(part, SummaryPart) else -1)
    return found


@pytest.fixture
def sessions() -> Sessions:
    return Sessions()


def test_parts_of_one_session_stay_as_they_are(sessions: Sessions) -> None:
    parts = [sessions.scalars(A, [5, 1]), sessions.scalars(A, [0])]
    assert interleave(parts, 1) == (parts[:1], parts[1:])


def test_steps_of_several_sessions_rise(sessions: Sessions) -> None:
    parts = [
        *(sessions.scalars(A, [0, 3, 4, 9]), sessions.scalars(B, [1, 2, 6])),
        *(sessions.summary(A, 10), sessions.scalars(C, [5, 7, 8, 11])),
    ]
    now, later = interleave(parts, len(parts))
    assert steps(now) == list(range(12))
    assert later == []


def test_only_what_is_due_goes_and_what_belongs_before_it(sessions: Sessions) -> None:
    parts = [sessions.scalars(A, [0, 3, 6]), sessions.scalars(B, [1, 5, 7]), sessions.end(B)]
    now, later = interleave(parts, 1)
    assert steps(now) == [0, 1, 3, 5, 6]
    assert steps(later) == [7, -1]
    sessions.write(now)
    assert sessions.progress[B].written_sequence == 0
    assert sessions.progress[B].counters.pending == 2
    now, later = interleave(later, 2)
    sessions.write(now)
    assert later == []
    assert sessions.progress[B].written_sequence == 4


def test_an_end_comes_after_all_of_its_session(sessions: Sessions) -> None:
    parts = [sessions.scalars(A, [8]), sessions.end(A), sessions.scalars(B, [3, 9])]
    assert steps(interleave(parts, 3)[0]) == [3, 8, -1, 9]


def test_equal_steps_go_by_time(sessions: Sessions) -> None:
    parts = [sessions.scalars(A, [1, 2], time=20.0), sessions.scalars(B, [1, 2], time=10.0)]
    now, _ = interleave(parts, 2)
    assert [(part.session_id, steps([part])) for part in now] == [
        *((B, [1]), (A, [1]), (B, [2]), (A, [2]))
    ]


def test_sessions_with_tags_of_their_own_are_not_split(sessions: Sessions) -> None:
    parts = [sessions.scalars(A, [0, 2], tag=0), sessions.scalars(B, [1, 3], tag=1)]
    assert interleave(parts, 2) == (parts, [])


def test_more_pieces_than_the_bound_stay_whole(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PIECES", 3)
    parts = [
        *(sessions.scalars(A, [1, 3]), sessions.scalars(B, [0, 2])),
        sessions.scalars(A, [4, 6]),
    ]
    now, later = interleave(parts, 2)
    assert steps(now) == [0, 2, 1, 3]
    assert later == parts[2:]


@pytest.mark.parametrize("seed", range(30))
def test_random_sessions_keep_their_order_and_their_counts(seed: int) -> None:
    """Whatever is due when: each session in its order, all written once, its steps as they were."""
    random_ = random.Random(seed)
    sessions = Sessions()
    logged: dict[bytes, list[int]] = {A: [], B: [], C: []}
    waiting: list[RunPart] = []
    written: list[RunPart] = []
    step = 0
    for _ in range(20):
        session = random_.choice((A, B, C))
        count = random_.randint(1, 5)
        step = max(0, step - random_.randint(0, 6))
        own = sorted(random_.randint(step, step + 20) for _ in range(count))
        if random_.random() < 0.2:
            random_.shuffle(own)
        step += random_.randint(0, 10)
        logged[session] += own
        waiting += (
            [sessions.scalars(session, own)]
            if random_.random() < 0.7
            else [sessions.summary(session, one) for one in own]
        )
        if random_.random() < 0.5:
            now, waiting = interleave(waiting, random_.randint(1, len(waiting)))
            written += now
            sessions.write(now)
    now, waiting = interleave(waiting, len(waiting))
    sessions.write(now)
    written += now
    assert waiting == []
    for session, progress in sessions.progress.items():
        own_parts = [part for part in written if part.session_id == session]
        assert steps(own_parts) == logged[session]
        assert progress.written_sequence == progress.received_sequence == len(logged[session])
        assert progress.counters.written == len(logged[session])
        assert progress.counters.balanced
        assert progress.open_parts == progress.pending_bytes == 0
    assert sessions.run.pending == 0
    assert sessions.intake.held_bytes == 0


def test_a_piece_may_be_rejected(sessions: Sessions) -> None:
    parts = [sessions.scalars(A, [0, 2]), sessions.scalars(B, [1])]
    now, _ = interleave(parts, 2)
    progress = sessions.progress[A]
    progress.reject(now[0], pb.SUPERSEDED, "why")
    (rejection,) = progress.rejections.waiting
    assert (rejection.sequence, rejection.records, rejection.last_sequence) == (1, 1, 1)
    sessions.write(now[1:])
    assert progress.counters.balanced
    assert progress.written_sequence == 2
