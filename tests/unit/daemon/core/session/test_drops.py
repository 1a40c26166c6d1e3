"""What clients report as dropped: counted once, and handed to the runs to tell of it."""

from __future__ import annotations

import numpy as np
from boardd.core.budget import Budgets, Intake
from boardd.core.refusals import Refusal
from boardd.core.runs.drop_reasons import MAX_DROP_REASONS
from boardd.core.runs.run_state import Runs
from boardd.core.session.batch import DropPart, EndPart, RunPart, ScalarPart
from boardd.core.session.drops import (
    ClientDrops,
    Ended,
    EndedSessions,
    drop_tags,
)
from boardd.core.session.session import Session
from boardd.events.event_pb2 import Event
from boardd.runs.event_files.mark_writer import MarkWriter
from boardd.runs.writing.encode import encode_drops, encode_scalar_part
from boardd_protos import boardd_pb2 as pb
from boardd_protos.summary_kind import SummaryKind
from hypothesis import given
from hypothesis import strategies as st
from support.raw_client import definitions, end_run, scalar
from support.tfrecords import read_records
from support.told import take_rejections

LOGDIRS: dict[str, str | Refusal] = {
    "run": "/root/run",
    "other": "/root/other",
    "outside": Refusal(pb.OUTSIDE_ROOTS, "outside"),
}
RUN, OTHER, OUTSIDE, UNKNOWN = 1, 2, 3, 99


class Fixture:
    def __init__(self) -> None:
        self.budgets = Budgets()
        self.intake = Intake(self.budgets.intake_bytes)
        self.runs = Runs(self.budgets)
        self.session = self.another(b"a" * 16)
        self.session.define(definitions("other", {2: "a"}, run=OTHER), LOGDIRS)
        self.session.define(definitions("outside", {3: "a"}, run=OUTSIDE), LOGDIRS)

    def another(self, session_id: bytes, drops: ClientDrops | None = None) -> Session:
        request = pb.OpenRequest(session_id=session_id, hostname="host", pid=7)
        session = Session(request, 0, self.budgets, self.runs, self.intake, Ended(drops=drops))
        session.define(definitions("run", {1: "loss"}), LOGDIRS)
        return session


def report(*counts: tuple[int, str, int], step: int = 0) -> pb.ClientReport:
    return pb.ClientReport(
        dropped=[
            pb.DropCount(
                run=run, reason=reason, records=records, size_bytes=10 * records, step=step
            )
            for run, reason, records in counts
        ]
    )


def drops(parts: list[RunPart]) -> dict[str, dict[str, int]]:
    """What each run is to tell, by its path; there is nothing else."""
    found = {}
    for part in parts:
        assert isinstance(part, DropPart)
        assert (part.sequence, part.records, part.sequences) == (0, 0, None)
        found[part.run.path] = part.dropped
    assert len(found) == len(parts)
    return found


def events(data: bytes) -> list[tuple[str, int, float, float]]:
    """Tag, step, wall time and value of encoded scalars."""
    return [
        (value.tag, event.step, event.wall_time, value.simple_value)
        for event in map(Event.FromString, read_records(data))
        for value in event.summary.value
    ]


def test_a_report_counts_once_and_each_run_tells_what_it_lost() -> None:
    fixture = Fixture()
    session = fixture.session
    message = report(
        (RUN, "log_full", 3), (RUN, "arena_full", 2), (OTHER, "log_full", 5), (0, "x", 1)
    )
    batch = session.report(message, wall_time=1e9)
    assert drops(batch.parts) == {
        "/root/run": {"log_full": 3, "arena_full": 2},
        "/root/other": {"log_full": 5},
    }
    assert session.report(message, wall_time=2e9).parts == []
    # Cumulative by run and reason; what is left out has not grown.
    assert drops(session.report(report((RUN, "log_full", 4)), wall_time=3e9).parts) == {
        "/root/run": {"log_full": 4, "arena_full": 2}
    }
    assert session.counters.dropped_by_client == {
        "log_full": (9, 90),
        "arena_full": (2, 20),
        "x": (1, 10),
    }
    assert {run.path: sum(run.dropped.values()) for run in fixture.runs.values()} == {
        "/root/run": 6,
        "/root/other": 5,
    }


def test_a_part_that_tells_of_drops_counts_no_records_and_is_charged_while_it_is_out() -> None:
    fixture = Fixture()
    session = fixture.session
    (part,) = session.report(report((RUN, "log_full", 3)), wall_time=1e9).parts
    assert session.open_parts == 1
    assert fixture.intake.held_bytes == session.pending_bytes > 0
    session.finish(part, 100)
    assert (session.open_parts, session.pending_bytes, fixture.intake.held_bytes) == (0, 0, 0)
    (part,) = session.report(report((RUN, "log_full", 4)), wall_time=1e9).parts
    session.reject(part, pb.RUN_REFUSED, "no")
    assert take_rejections(session) == []
    assert (session.counters.accepted, session.counters.written, session.open_parts) == (0, 0, 0)
    assert session.counters.balanced


def test_sessions_of_one_run_add_up() -> None:
    fixture = Fixture()
    other = fixture.another(b"b" * 16)
    assert told(fixture.session, report((RUN, "log_full", 3)))[0] == ("boardd/dropped", 0, 1e9, 3)
    (part,) = other.report(report((RUN, "log_full", 10)), wall_time=1e9).parts
    assert drops([part]) == {"/root/run": {"log_full": 10}}
    assert told(other, report((RUN, "log_full", 11)))[0] == ("boardd/dropped", 0, 1e9, 14)


def test_drops_that_were_told_are_told_no_more() -> None:
    session = Fixture().session
    assert told(session, report((RUN, "log_full", 3)))[0] == ("boardd/dropped", 0, 1e9, 3)
    assert told(session, report((RUN, "log_full", 4)))[0] == ("boardd/dropped", 0, 1e9, 4)


def test_runs_that_are_refused_or_not_known_count_and_tell_nothing() -> None:
    fixture = Fixture()
    message = report((OUTSIDE, "log_full", 3), (UNKNOWN, "log_full", 4))
    assert fixture.session.report(message, wall_time=1e9).parts == []
    assert fixture.session.counters.dropped_by_client == {"log_full": (7, 70)}


def test_a_run_that_was_ended_is_closed_again() -> None:
    fixture = Fixture()
    session = fixture.session
    session.receive(scalar(1) + end_run(2, RUN))
    first, last = session.report(report((RUN, "log_full", 3)), wall_time=1e9).parts
    assert isinstance(first, DropPart)
    assert isinstance(last, EndPart)
    assert not last.run.holders


def told(session: Session, message: pb.ClientReport) -> list[tuple[str, int, float, float]]:
    """The points that a report makes, all of one run."""
    (part,) = session.report(message, wall_time=1e9).parts
    assert isinstance(part, DropPart)
    encoded = encode_drops(part)
    assert encoded.part is not None
    MarkWriter(part.run.contents, lambda: 0.0).written([encoded.part])
    assert encode_drops(part).events == b""
    return events(encoded.events)


def test_points_stand_at_the_highest_step_told_and_never_go_backwards() -> None:
    session = Fixture().session
    assert told(session, report((RUN, "x", 1))) == [
        ("boardd/dropped", 0, 1e9, 1),
        ("boardd/dropped/x", 0, 1e9, 1),
    ]
    for records, step, expected in ((2, 70, 70), (3, 10, 70), (4, 71, 71)):
        points = told(session, report((RUN, "x", records), step=step))
        assert {step for _, step, _, _ in points} == {expected}


def test_a_daemon_that_knows_no_records_tells_drops_at_the_same_step_again() -> None:
    message = report((RUN, "x", 5), step=900)
    before, after = Fixture().session, Fixture().session
    (part,) = before.receive(scalar(1, step=1000)).parts
    assert isinstance(part, ScalarPart)
    encode_scalar_part(part)
    assert told(before, message) == told(after, message)


def test_writers_of_a_client_that_share_a_run_tell_at_once_at_their_highest_step() -> None:
    session = Fixture().session
    session.define(definitions("run", {7: "b"}, run=7), LOGDIRS)
    message = report((RUN, "x", 1), step=5)
    message.MergeFrom(report((7, "x", 2), step=1000))
    message.MergeFrom(report((7, "y", 4), step=6))
    assert {(tag, step, value) for tag, step, _, value in told(session, message)} == {
        ("boardd/dropped", 1000, 7),
        ("boardd/dropped/x", 1000, 3),
        ("boardd/dropped/y", 1000, 4),
    }


def test_a_session_that_comes_back_to_its_run_is_not_counted_twice() -> None:
    fixture = Fixture()
    first = fixture.another(b"b" * 16)
    first.report(report((RUN, "x", 5)), wall_time=1e9)
    first.forget()
    again = fixture.another(b"b" * 16, first.drops)
    assert again.report(report((RUN, "x", 5)), wall_time=1e9).parts == []
    assert not again.counters.dropped_by_client
    assert drops(again.report(report((RUN, "x", 6)), wall_time=1e9).parts) == {
        "/root/run": {"x": 6}
    }
    assert again.counters.dropped_by_client == {"x": (1, 10)}


def test_a_session_that_comes_back_to_a_run_made_anew_is_counted_there_in_full() -> None:
    fixture = Fixture()
    first = fixture.another(b"b" * 16)
    first.report(report((RUN, "x", 5)), wall_time=1e9)
    first.forget()
    fixture.session.forget()
    assert not fixture.runs.values()
    again = fixture.another(b"b" * 16, first.drops)
    assert drops(again.report(report((RUN, "x", 5)), wall_time=1e9).parts) == {
        "/root/run": {"x": 5}
    }
    assert not again.counters.dropped_by_client


def test_the_reasons_of_a_run_are_bounded_and_none_is_lost_from_its_sum() -> None:
    fixture = Fixture()
    for number in range(10):
        session = fixture.another(bytes([number]) * 16)
        names = [(RUN, f"r{number}.{at}", 1) for at in range(MAX_DROP_REASONS)]
        for _ in range(2):
            session.report(report(*names), wall_time=1e9)
    (run, _) = fixture.runs.values()
    assert len(run.dropped) == MAX_DROP_REASONS + 1
    assert run.dropped["other"] == 9 * MAX_DROP_REASONS
    assert sum(run.dropped.values()) == 10 * MAX_DROP_REASONS


def test_what_is_remembered_of_ended_sessions_is_bounded() -> None:
    ended = EndedSessions(max_sessions=3, max_amounts=4)

    def remember(name: str, reasons: int) -> ClientDrops:
        known = ClientDrops(max_runs=1)
        known.take(report(*[(RUN, f"r{at}", 1) for at in range(reasons)]), {})
        ended.remember(name.encode(), Ended(len(name), known))
        return known

    remember("a", 2)
    second = remember("bb", 2)
    third = remember("ccc", 1)
    assert ended.take(b"a") == Ended(1), "its drops alone were forgotten"
    assert ended.take(b"bb") == Ended(2, second)
    assert ended.take(b"bb") == Ended()
    remember("ccc", 4)
    fourth = remember("ccc", 4)
    assert fourth is not third
    assert ended.take(b"ccc") == Ended(3, fourth), "the same session is not held twice"
    remember("dddd", 5)
    assert ended.take(b"dddd") == Ended(4), "more than all may have"
    for name in "efgh":
        remember(name, 1)
    assert [ended.take(name.encode())[0] for name in "efgh"] == [0, 1, 1, 1]


def test_a_tag_of_the_users_that_is_another_kind_is_left_alone() -> None:
    session = Fixture().session
    (part,) = session.report(report((RUN, "log_full", 3), (RUN, "x", 1)), wall_time=1e9).parts
    assert isinstance(part, DropPart)
    part.run.contents.kinds.take(b"boardd/dropped", {b"boardd/dropped": SummaryKind.HISTOGRAM})
    part.run.contents.kinds.take(b"boardd/dropped/x", {b"boardd/dropped/x": SummaryKind.TEXT})
    assert [tag for tag, *_ in events(encode_drops(part).events)] == ["boardd/dropped/log_full"]


@given(st.dictionaries(st.text(max_size=300), st.integers(0, 1 << 64), max_size=40))
def test_any_reason_makes_a_tag_or_none(records: dict[str, int]) -> None:
    tags = drop_tags(records)
    assert tags.pop("boardd/dropped") == sum(records.values())
    assert all(tag.startswith("boardd/dropped/") for tag in tags)
    assert sum(tags.values()) <= sum(records.values())


def test_a_client_that_makes_up_reasons_and_runs_is_bounded() -> None:
    fixture = Fixture()
    session = fixture.session
    for start in range(0, 100_000, 1000):
        names = [(start + at, f"r{at % 50}", 1) for at in range(1000)]
        session.report(report(*names), wall_time=1e9)
    counted = sum(records for records, _ in session.counters.dropped_by_client.values())
    assert len(session.counters.dropped_by_client) == MAX_DROP_REASONS
    assert counted == (fixture.budgets.max_runs + 1) * MAX_DROP_REASONS


def test_counts_beyond_the_wires_are_told_as_its_most() -> None:
    session = Fixture().session
    most = (1 << 64) - 1
    message = pb.ClientReport(
        dropped=[
            pb.DropCount(run=run, reason="x", records=most, size_bytes=most) for run in (RUN, OTHER)
        ]
    )
    parts = session.report(message, wall_time=1e9).parts
    (count,) = session.counters.message().dropped_by_client
    assert (count.records, count.size_bytes) == (most, most)
    for part in parts:
        assert isinstance(part, DropPart)
        assert all(np.isfinite(value) for *_, value in events(encode_drops(part).events))
