"""Frames of many scalars against a plain model, and what is wrong with them."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest
from boardd.core.budget import Budgets, Intake
from boardd.core.errors import RequestError
from boardd.core.intake.frames import ScalarFrames, check_sequence, split
from boardd.core.refusals import Refusal
from boardd.core.runs import schema
from boardd.core.runs.run_state import Runs
from boardd.core.runs.sets import MAX_SET_SERIES
from boardd.core.session.batch import RunPart, ScalarPart
from boardd.core.session.rejections import Rejection
from boardd.core.session.session import Session
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import Frame, FrameError, FrameKind, decode, encode
from hypothesis import given, settings
from hypothesis import strategies as st
from support.raw_client import definitions, end_run, scalar, scalar_set

LOGDIRS: dict[str, str | Refusal] = {
    "run": "/root/run",
    "outside": Refusal(pb.OUTSIDE_ROOTS, "outside"),
}
#: Series 1 to 3 lie in the run, 4 and 5 in sub-runs, 6 has no tag, 7 is in a run that is refused.
TAGS = {1: ("a", ""), 2: ("b", ""), 3: ("c", ""), 4: ("d", "x"), 5: ("d", "y"), 6: ("///", "")}
SETS = {100: [1, 2, 3], 101: [3, 1, 3], 102: [4, 1, 5, 4], 103: [2, 6], 104: [7, 1], 105: [5]}


def make_session(budgets: Budgets | None = None, sequence: int = 0) -> Session:
    budgets = budgets or Budgets()
    request = pb.OpenRequest(session_id=b"a" * 16, hostname="host", pid=7)
    session = Session(request, sequence, budgets, Runs(budgets), Intake(budgets.intake_bytes))
    session.define(definitions("run", {1: "a"}), LOGDIRS)
    session.define(definitions("outside", {7: "a"}, run=2), LOGDIRS)
    session.define(
        pb.Definitions(
            series=[
                pb.SeriesDefinition(series=number, run=1, tag=tag, sub_run=sub_run)
                for number, (tag, sub_run) in TAGS.items()
            ],
            sets=[pb.SeriesSet(set=number, series=series) for number, series in SETS.items()],
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
        if frame.kind == FrameKind.SCALAR:
            series, values = [frame.target], [frame.value]
        else:
            series = SETS.get(frame.target, [])
            values = np.frombuffer(frame.payload[: len(frame.payload) // 8 * 8], "<f8").tolist()
            if len(frame.payload) % 8:
                values = [0.0]
            values = values or [0.0]
            if len(frame.payload) != 8 * len(series):
                rejected += len(values)
                continue
        if not math.isfinite(frame.wall_time) or frame.flags:
            rejected += len(values)
            continue
        for number, value in zip(series, values, strict=True):
            tag, sub_run = TAGS.get(number, ("///", ""))
            if tag == "///":
                rejected += 1
                continue
            path = f"/root/run/{sub_run}".rstrip("/")
            found[path].append((tag, frame.sequence, frame.step, frame.wall_time, value))
    return found, rejected


@st.composite
def messages(draw: st.DrawFn) -> list[list[Frame]]:
    """Messages of scalars, one by one and in sets, alike and different, good and bad."""
    rng = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    sequence = 0
    found: list[list[Frame]] = []
    for _ in range(draw(st.integers(1, 4))):
        frames: list[Frame] = []
        for _ in range(draw(st.integers(1, 8))):
            number = draw(st.sampled_from([1, 4, 6, 7, 9, *SETS, 999]))
            odd = draw(st.sampled_from([0] * 12 + [1, 2, 3, 4]))
            for _ in range(draw(st.sampled_from([1, 1, 2, 5, 40]))):
                sequence += 1
                wall_time = math.nan if odd == 1 else 1e9 + sequence
                flags = int(odd == 2)
                if number < 100:
                    value = float(rng.normal())
                    frame = Frame(
                        FrameKind.SCALAR, flags, sequence, sequence, wall_time, number, value, b""
                    )
                else:
                    length = len(SETS.get(number, [1, 2])) + (odd == 3)
                    payload = rng.normal(size=length).astype("<f8").tobytes()
                    payload = payload[:-3] if odd == 4 else payload
                    frame = Frame(
                        FrameKind.SCALARS,
                        flags,
                        sequence,
                        sequence,
                        wall_time,
                        number,
                        0.0,
                        payload,
                    )
                frames.append(frame)
        found.append(frames)
    return found


@given(messages())
@settings(max_examples=150, deadline=None)
def test_scalars_in_sets_are_what_they_would_be_one_by_one(taken: list[list[Frame]]) -> None:
    session = make_session()
    for frames in taken:
        data = b"".join(map(encode, frames))
        (stretch,) = split(data)
        assert isinstance(stretch, ScalarFrames)
        assert len(stretch) == len(frames)
        before = sum(session.counters.rejected.values())
        accepted = session.counters.accepted
        batch = session.receive(data)
        expected, rejected = model(frames)
        assert points(batch.parts) == expected
        assert sum(session.counters.rejected.values()) - before == rejected
        assert len({part.run.path for part in batch.parts}) == len(batch.parts)
        records = sum(map(len, expected.values())) + rejected
        assert session.counters.accepted - accepted == records
        assert session.counters.pending == records - rejected
        for part in batch.parts:
            session.finish(part, 1)
        assert session.counters.balanced
        assert session.counters.pending == session.pending_bytes == 0
        assert session.written_sequence == frames[-1].sequence
        duplicates = session.counters.duplicates
        assert session.receive(data).parts == []
        assert session.counters.duplicates - duplicates == records
    told = session.take_rejections()
    assert sum(item.records for item in told) == sum(session.counters.rejected.values())
    assert all(1 <= item.sequence <= item.last_sequence for item in told)


@pytest.mark.parametrize("pattern", ["m", "smh", "mmmmmmmms", "s" * 30 + "m" * 30 + "h" + "sm" * 9])
def test_a_stretch_ends_only_at_frames_that_are_no_scalars(pattern: str) -> None:
    data = b"".join(
        {"s": scalar, "h": end_run, "m": lambda at: scalar_set(at, [1.0, 2.0, 3.0])}[kind](at + 1)
        for at, kind in enumerate(pattern)
    )
    items = list(split(data))
    check_sequence(items, 0)
    lengths = [len(item) for item in items if isinstance(item, ScalarFrames)]
    assert lengths == [len(part) for part in pattern.split("h") if part]
    kinds = [frame.kind for frame in decode(data)]
    assert [
        kind
        for item in items
        for kind in (item.headers["kind"] if isinstance(item, ScalarFrames) else [item.kind])
    ] == kinds


@pytest.mark.parametrize("cut", [1, 8, 30, 48, 64])
def test_a_frame_that_is_cut_off_changes_nothing(cut: int) -> None:
    session = make_session()
    data = b"".join(scalar_set(sequence, [1.0, 2.0, 3.0]) for sequence in range(1, 20))
    with pytest.raises(FrameError):
        session.receive(data[:-cut])
    assert (session.received_sequence, session.counters.accepted) == (0, 0)


def test_a_gap_within_a_stretch_is_found() -> None:
    session = make_session()
    with pytest.raises(FrameError, match="sequence 3 follows 1"):
        session.receive(scalar_set(1, [1.0] * 3) + scalar_set(3, [1.0] * 3))


def test_what_was_received_of_a_message_before_is_not_taken_again() -> None:
    session = make_session()
    frames = [scalar_set(sequence, [1.0, 2.0, 3.0]) for sequence in range(1, 6)]
    session.receive(b"".join(frames[:2]))
    (part,) = session.receive(b"".join(frames)).parts
    assert (part.sequence, part.records) == (3, 9)
    assert session.counters.duplicates == 6


def test_rejections_say_why_and_how_many() -> None:
    session = make_session()
    session.receive(
        scalar_set(1, [1.0, 2.0])
        + scalar_set(2, [1.0, 2.0], 999)
        + encode(Frame(FrameKind.SCALARS, 0, 3, 3, 1e9, 100, 0.0, b"1234567890"))
        + scalar_set(4, [1.0, 2.0], 103)
        + scalar_set(5, [1.0, 2.0], 103)
        + scalar_set(6, [1.0, 2.0], 104)
    )
    found = session.take_rejections()
    assert {(item.sequence, item.last_sequence, item.records, item.reason) for item in found} == {
        (1, 3, 3, pb.INVALID_RECORD),
        (2, 2, 2, pb.UNDEFINED_SERIES),
        (4, 5, 2, pb.INVALID_NAME),
        (6, 6, 1, pb.RUN_REFUSED),
    }
    texts = {item.reason: item.message for item in found}
    assert texts[pb.INVALID_RECORD] == "16 bytes of values; set 100 has 3 series of 8 bytes each"
    assert texts[pb.UNDEFINED_SERIES] == "set 999 is not defined"
    assert "'///'" in texts[pb.INVALID_NAME]


def test_a_set_defined_again_is_passed_over_and_never_changed() -> None:
    session = make_session()
    again = pb.Definitions(sets=[pb.SeriesSet(set=100, series=SETS[100])])
    session.define(again, LOGDIRS)
    with pytest.raises(RequestError, match="set 100 is defined already"):
        session.define(pb.Definitions(sets=[pb.SeriesSet(set=100, series=[1, 2])]), LOGDIRS)
    (part,) = session.receive(scalar_set(1, [1.0, 2.0, 3.0])).parts
    assert part.records == 3


@pytest.mark.parametrize("series", [[], [1] * (MAX_SET_SERIES + 1), [1, 999]])
def test_a_set_that_cannot_be_used_is_refused_and_so_are_its_records(series: list[int]) -> None:
    session = make_session()
    for _ in range(2):
        session.define(pb.Definitions(sets=[pb.SeriesSet(set=200, series=series)]), LOGDIRS)
    assert session.receive(scalar_set(1, [1.0, 2.0], 200) + scalar_set(2, [], 200)).parts == []
    assert session.counters.rejected == {pb.UNDEFINED_SERIES: 3}
    assert (session.counters.accepted, session.written_sequence) == (3, 2)


def test_series_past_the_budget_do_not_take_the_rest_of_their_set_with_them() -> None:
    session = make_session(Budgets(max_series_per_session=len(TAGS) + 1))
    message = definitions("run", {50: "one too many"})
    message.sets.add(set=200, series=[1, 50, 2])
    session.define(message, LOGDIRS)
    (part,) = session.receive(scalar_set(1, [1.0, 2.0, 3.0], 200)).parts
    assert points([part])["/root/run"] == [("a", 1, 1, 1e9, 1.0), ("b", 1, 1, 1e9, 3.0)]
    (told,) = session.take_rejections()
    assert (told.records, told.reason) == (1, pb.TOO_MANY_SERIES)


def test_sets_have_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    session = make_session()
    monkeypatch.setattr(schema, "MAX_DEFINITION_BYTES", 1 << 16)
    for number in range(1000, 1100):
        session.define(pb.Definitions(sets=[pb.SeriesSet(set=number, series=[1] * 100)]), LOGDIRS)
    kept = [number for number in range(1000, 1100) if number in session.schema.sets]
    assert 5 < len(kept) < 25
    session.receive(scalar_set(1, [1.0] * 100, 1000) + scalar_set(2, [1.0] * 100, 1099))
    assert session.counters.rejected == {pb.TOO_MANY_SERIES: 100}
    assert session.counters.pending == 100


def test_a_part_that_is_rejected_says_from_where_to_where() -> None:
    session = make_session()
    (part,) = session.receive(scalar(1) + scalar_set(2, [1.0] * 3) + scalar_set(3, [1.0] * 3)).parts
    piece = part.split_off(2, 2, 3)
    session.reject(piece, pb.INVALID_NAME, "taken")
    session.reject(part, pb.REDUCTION_FAILED, "no")
    assert session.take_rejections() == [
        Rejection(2, 2, pb.INVALID_NAME, "taken", 3),
        Rejection(1, 5, pb.REDUCTION_FAILED, "no", 3),
    ]
    assert session.counters.balanced
    assert session.counters.pending == session.pending_bytes == 0
