"""Frames of scalars against a plain model, and what is wrong with them."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from boardd.core.budget import Budgets, Intake
from boardd.core.intake.frames import ScalarFrames
from boardd.core.intake.walker import walk_message
from boardd.core.refusals import Refusal
from boardd.core.runs.run_state import Runs
from boardd.core.session.batch import RunPart, ScalarPart
from boardd.core.session.session import Session
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import Frame, FrameError, FrameKind, encode
from hypothesis import given, settings
from hypothesis import strategies as st
from support.raw_client import definitions, scalar, scalars
from support.told import take_rejections

LOGDIRS: dict[str, str | Refusal] = {
    "run": "/root/run",
    "outside": Refusal(pb.OUTSIDE_ROOTS, "outside"),
}
#: Series 1 to 3 lie in the run, 4 and 5 in sub-runs, 6 has no tag, 7 is in a run that is refused.
#: 8 is of another writer of the client that shares the run.
TAGS = {1: ("a", ""), 2: ("b", ""), 3: ("c", ""), 4: ("d", "x"), 5: ("d", "y"), 6: ("///", "")}


def make_session(budgets: Budgets | None = None, sequence: int = 0) -> Session:
    budgets = budgets or Budgets()
    request = pb.OpenRequest(session_id=b"a" * 16, hostname="host", pid=7)
    session = Session(request, sequence, budgets, Runs(budgets), Intake(budgets.intake_bytes))
    session.define(definitions("run", {1: "a"}), LOGDIRS)
    session.define(definitions("outside", {7: "a"}, run=2), LOGDIRS)
    session.define(definitions("run", {8: "a"}, run=3), LOGDIRS)
    session.define(
        pb.Definitions(
            series=[
                pb.SeriesDefinition(series=number, run=1, tag=tag, sub_run=sub_run)
                for number, (tag, sub_run) in TAGS.items()
            ],
        ),
        LOGDIRS,
    )
    return session


Point = tuple[str, int, int, float, float]


def points(parts: list[RunPart]) -> dict[str, list[Point]]:
    """What the parts hold, by the path of their run: tag, sequence, step, wall time, value."""
    found: dict[str, list[Point]] = defaultdict(list)
    for part in parts:
        assert isinstance(part, ScalarPart)
        assert part.records == len(part.columns) == len(part.tag_index)
        assert part.sequence == part.columns.sequence[0]
        assert part.last_sequence == part.columns.sequence[-1]
        found[part.run.path] += [
            (part.run.tags[tag].decode(), *row)
            for tag, *row in zip(
                part.tag_index.tolist(),
                part.columns.sequence.tolist(),
                part.columns.step.tolist(),
                part.columns.wall_time.tolist(),
                part.columns.value.tolist(),
                strict=True,
            )
        ]
    return found


def model(frames: list[Frame]) -> tuple[dict[str, list[Point]], int]:
    """The same of frames taken one by one, and how many scalars are rejected."""
    found: dict[str, list[Point]] = defaultdict(list)
    rejected = 0
    for frame in frames:
        tag, sub_run = ("a", "") if frame.target == 8 else TAGS.get(frame.target, ("///", ""))
        if not math.isfinite(frame.wall_time) or frame.flags or tag == "///":
            rejected += 1
            continue
        path = f"/root/run/{sub_run}".rstrip("/")
        found[path].append((tag, frame.sequence, frame.step, frame.wall_time, frame.value))
    return found, rejected


@st.composite
def messages(draw: st.DrawFn) -> list[list[Frame]]:
    """Messages of scalars, alike and different, good and bad."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    sequence = 0
    found: list[list[Frame]] = []
    for _ in range(draw(st.integers(1, 4))):
        frames: list[Frame] = []
        for _ in range(draw(st.integers(1, 8))):
            number = draw(st.sampled_from([1, 2, 4, 5, 6, 7, 8, 9]))
            odd = draw(st.sampled_from([0] * 8 + [1, 2]))
            for _ in range(draw(st.sampled_from([1, 1, 2, 5, 40]))):
                sequence += 1
                wall_time = math.nan if odd == 1 else 1e9 + sequence
                flags, value = int(odd == 2), float(rng.normal())
                frames.append(
                    Frame(
                        FrameKind.SCALAR, flags, sequence, sequence, wall_time, number, value, b""
                    )
                )
        found.append(frames)
    return found


@given(messages())
@settings(max_examples=150, deadline=None)
def test_many_scalars_are_what_they_would_be_one_by_one(taken: list[list[Frame]]) -> None:
    session = make_session()
    for frames in taken:
        data = b"".join(map(encode, frames))
        (found,) = walk_message(data, session.received_sequence)
        assert isinstance(found, ScalarFrames)
        assert len(found) == len(frames)
        before = sum(session.counters.rejected.values())
        accepted = session.counters.accepted
        batch = session.receive(data)
        expected, rejected = model(frames)
        assert points(batch.parts) == expected
        assert sum(session.counters.rejected.values()) - before == rejected
        assert len({part.run.path for part in batch.parts}) == len(batch.parts)
        assert session.counters.accepted - accepted == len(frames)
        assert session.counters.pending == len(frames) - rejected
        for part in batch.parts:
            session.finish(part, 1)
        assert session.counters.balanced
        assert session.counters.pending == session.pending_bytes == 0
        assert session.written_sequence == frames[-1].sequence
        duplicates = session.counters.duplicates
        assert session.receive(data).parts == []
        assert session.counters.duplicates - duplicates == len(frames)
    told = take_rejections(session)
    assert sum(item.records for item in told) == sum(session.counters.rejected.values())
    assert all(1 <= item.sequence <= item.last_sequence for item in told)


@pytest.mark.parametrize("cut", [1, 8, 30, 47])
def test_a_frame_that_is_cut_off_changes_nothing(cut: int) -> None:
    session = make_session()
    with pytest.raises(FrameError):
        session.receive(scalars(1, 20)[:-cut])
    assert (session.received_sequence, session.counters.accepted) == (0, 0)


def test_a_gap_between_scalars_is_found() -> None:
    session = make_session()
    with pytest.raises(FrameError, match="record 3, expected 2"):
        session.receive(scalar(1) + scalar(3))


def test_what_was_received_of_a_message_before_is_not_taken_again() -> None:
    session = make_session()
    session.receive(scalars(1, 2))
    (part,) = session.receive(scalars(1, 5)).parts
    assert (part.sequence, part.records) == (3, 3)
    assert session.counters.duplicates == 2


def test_rejections_say_why_and_how_many() -> None:
    session = make_session()
    batch = session.receive(
        scalar(1, wall_time=math.inf)
        + scalar(2, series=999)
        + scalar(3, flags=1)
        + scalar(4, series=6)
        + scalar(5)
        + scalar(6, series=6)
        + scalar(7, series=7)
    )
    assert take_rejections(session) == [], "what is between them is not done"
    for part in batch.parts:
        session.finish(part, 1)
    found = take_rejections(session)
    assert {(item.sequence, item.last_sequence, item.records, item.reason) for item in found} == {
        (1, 3, 2, pb.INVALID_RECORD),
        (2, 2, 1, pb.UNDEFINED_SERIES),
        (4, 6, 2, pb.INVALID_NAME),
        (7, 7, 1, pb.RUN_REFUSED),
    }
    texts = {item.reason: item.message for item in found}
    assert texts[pb.INVALID_RECORD] == "wall_time inf, flags 0x0: not allowed in a scalar"
    assert texts[pb.UNDEFINED_SERIES] == "series 999 is not defined"
    assert "'///'" in texts[pb.INVALID_NAME]


def test_a_series_past_the_budget_does_not_take_others_with_it() -> None:
    session = make_session(Budgets(max_series_per_session=len(TAGS) + 1))
    session.define(definitions("run", {50: "one too many"}), LOGDIRS)
    (part,) = session.receive(scalar(1, 1.0) + scalar(2, series=50) + scalar(3, 3.0)).parts
    assert points([part])["/root/run"] == [("a", 1, 1, 1e9, 1.0), ("a", 3, 3, 1e9, 3.0)]
    session.finish(part, 1)
    (told,) = take_rejections(session)
    assert (told.records, told.reason) == (1, pb.TOO_MANY_SERIES)


def test_a_part_that_is_rejected_says_from_where_to_where() -> None:
    session = make_session()
    (part,) = session.receive(scalars(1, 5)).parts
    split_off = part.split_off(2, 2, 3)
    session.reject(split_off, pb.INVALID_NAME, "taken")
    session.reject(part, pb.REDUCTION_FAILED, "no")
    told = take_rejections(session)
    assert [
        (item.sequence, item.records, item.reason, item.message, item.last_sequence, item.run)
        for item in told
    ] == [(2, 2, pb.INVALID_NAME, "taken", 3, 1), (1, 3, pb.REDUCTION_FAILED, "no", 5, 1)], (
        "two writers share the run, and it is known whose they are"
    )
    assert [item.number for item in told] == [1, 2]
    assert session.counters.balanced
    assert session.counters.pending == session.pending_bytes == 0
