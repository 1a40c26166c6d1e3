"""Sessions against a plain model: whatever comes in, the counts balance and order holds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from boardd.core.budget import Budgets, Intake
from boardd.core.errors import RequestError
from boardd.core.intake.columns import SCALAR_BYTES
from boardd.core.refusals import Refusal
from boardd.core.runs.drop_reasons import MAX_DROP_REASONS
from boardd.core.runs.run_state import Runs
from boardd.core.runs.steps import StepMonitor
from boardd.core.session.batch import SCALAR_PART_BYTES, EndPart, RunPart, ScalarPart, SummaryPart
from boardd.core.session.frame_taker import FrameTaker
from boardd.core.session.rejections import MAX_REJECTIONS
from boardd.core.session.session import Session
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import Frame, FrameError, FrameKind, encode
from hypothesis import given, settings
from hypothesis import strategies as st
from support.raw_client import definitions, end_run, scalar, scalars, summary
from support.told import take_rejections

LOGDIRS: dict[str, str | Refusal] = {
    "run": "/root/run",
    "other": "/root/other",
    "outside": Refusal(pb.OUTSIDE_ROOTS, "outside"),
}


class Fixture:
    """A session of its own, with the shared parts of a daemon."""

    def __init__(self, budgets: Budgets | None = None, sequence: int = 0) -> None:
        self.budgets = budgets or Budgets()
        self.intake = Intake(self.budgets.intake_bytes)
        self.runs = Runs(self.budgets)
        self.session = self.another(b"a" * 16, sequence)

    def another(self, session_id: bytes, sequence: int = 0) -> Session:
        request = pb.OpenRequest(session_id=session_id, hostname="host", pid=7)
        return Session(request, sequence, self.budgets, self.runs, self.intake)

    def check(self) -> None:
        counters = self.session.counters
        assert counters.balanced, counters
        assert counters.pending >= 0
        assert self.session.written_sequence <= self.session.received_sequence


def steps(part: RunPart) -> list[int]:
    if isinstance(part, ScalarPart):
        return [int(step) for step in part.columns.step]
    return [part.step] if isinstance(part, SummaryPart) else []


def test_a_message_becomes_one_part_for_each_run() -> None:
    fixture = Fixture()
    session = fixture.session
    session.define(definitions("run", {1: "a", 2: "b"}), LOGDIRS)
    session.define(definitions("other", {3: "a"}, run=2), LOGDIRS)
    batch = session.receive(
        scalar(1, series=1) + scalar(2, series=3) + scalar(3, series=2) + scalar(4, series=3)
    )
    first, second = batch.parts
    assert isinstance(first, ScalarPart)
    assert (first.run.path, steps(first)) == ("/root/run", [1, 3])
    assert [first.run.tags[tag] for tag in first.tag_index] == [b"a", b"b"]
    assert (second.run.path, steps(second)) == ("/root/other", [2, 4])
    assert first.columns.value.base is not None, "the message is not copied"
    assert fixture.intake.held_bytes == 2 * SCALAR_PART_BYTES + 4 * SCALAR_BYTES
    session.finish(second, 100)
    assert session.written_sequence == 0
    session.finish(first, 50)
    assert session.written_sequence == 4
    assert session.counters.written_bytes == 150
    assert (fixture.intake.held_bytes, session.open_parts, first.run.pending) == (0, 0, 0)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_comes_every_record_is_accounted_for_once(data: st.DataObject) -> None:
    fixture = Fixture(sequence=data.draw(st.integers(0, 3)))
    session = fixture.session
    session.define(definitions("run", {1: "a", 2: "b", 3: "///"}), LOGDIRS)
    session.define(definitions("other", {4: "a"}, run=2), LOGDIRS)
    session.define(definitions("outside", {5: "a"}, run=3), LOGDIRS)
    kinds = st.sampled_from(["scalar", "summary", "end", "aborted", "odd", "nan", "flags"])
    log: list[bytes] = []
    start = session.received_sequence
    handed_on: dict[str, list[int]] = {}
    out: list[RunPart] = []
    accepted_sequences = 0
    for _ in range(data.draw(st.integers(1, 8))):
        for _ in range(data.draw(st.integers(0, 12))):
            number = start + len(log) + 1
            series = data.draw(st.integers(1, 6))
            kind = data.draw(kinds)
            log.append(
                {
                    "scalar": lambda n=number, s=series: scalar(n, series=s),
                    "summary": lambda n=number, s=series: summary(n, pb.Payload(), series=s),
                    "end": lambda n=number, s=series: end_run(n, s),
                    "aborted": lambda n=number: encode(
                        Frame(FrameKind.ABORTED, 0, n, 0, 0.0, 0, 0.0, b"why")
                    ),
                    "odd": lambda n=number: encode(Frame(77, 0, n, 0, 0.0, 0, 0.0, b"?")),
                    "nan": lambda n=number, s=series: scalar(n, series=s, wall_time=math.nan),
                    "flags": lambda n=number, s=series: scalar(n, series=s, flags=1),
                }[kind]()
            )
        # From anywhere that leaves no gap: what is there already is sent again.
        first = data.draw(st.integers(0, session.received_sequence - start))
        duplicates = session.counters.duplicates
        known = session.received_sequence - start - first
        batch = session.receive(b"".join(log[first:]))
        if log[first:]:
            assert session.counters.duplicates == duplicates + known
        assert session.received_sequence == start + len(log)
        accepted_sequences = len(log)
        assert session.counters.accepted == accepted_sequences
        for part in batch.parts:
            handed_on.setdefault(part.run.path, []).extend(steps(part))
        out += batch.parts
        fixture.check()
        for _ in range(data.draw(st.integers(0, len(out)))):
            part = out.pop(data.draw(st.integers(0, len(out) - 1)))
            if isinstance(part, SummaryPart):
                session.recharge(part, 1000)
            if data.draw(st.booleans()):
                session.finish(part, 10)
            else:
                session.reject(part, pb.REDUCTION_FAILED, "no")
            fixture.check()
    for part in out:
        session.finish(part, 10)
    fixture.check()
    assert session.written_sequence == session.received_sequence
    assert session.counters.pending == fixture.intake.held_bytes == session.open_parts == 0
    assert all(run.pending == 0 for run in fixture.runs.values())
    # In order and never twice, run by run.
    for found in handed_on.values():
        assert found == sorted(set(found))
    assert sum(item.records for item in take_rejections(session)) == sum(
        session.counters.rejected.values()
    )


@given(st.binary(max_size=300), st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_a_message_that_is_no_frames_changes_nothing(data: bytes, good: int) -> None:
    fixture = Fixture()
    fixture.session.define(definitions("run"), LOGDIRS)
    message = scalars(1, good) + data
    try:
        fixture.session.receive(message)
    except FrameError:
        assert fixture.session.received_sequence == 0
        assert fixture.session.counters.accepted == 0
        assert fixture.intake.held_bytes == 0
    fixture.check()


def test_sessions_of_one_path_share_the_run_and_its_tags() -> None:
    fixture = Fixture()
    other = fixture.another(b"b" * 16)
    fixture.session.define(definitions("run", {1: "a", 2: "b"}, rank=-1), LOGDIRS)
    other.define(definitions("run", {9: "b"}, rank=0, world_size=1, reduce="max"), LOGDIRS)
    (run,) = fixture.runs.values()
    assert run.tags == [b"a", b"b"]
    # What an aggregate over the ranks will be made from.
    member = run.members[(b"b" * 16, 1)]
    assert (member.rank, member.world_size, member.reduce) == (0, 1, "max")
    assert run.group == "/root/run"
    assert len(run.holders) == 2
    fixture.session.end()
    assert run.holders == {(b"b" * 16, 1)}
    other.forget()
    assert fixture.runs.values() == [run]
    fixture.session.forget()
    assert not fixture.runs.values()


def test_the_group_of_a_rank_is_the_directory_of_all_ranks() -> None:
    fixture = Fixture()
    message = definitions("run", {1: "a"}, sub_run="a/x", name="n", rank=1, world_size=2)
    fixture.session.define(message, LOGDIRS)
    found = {run.path: run.group for run in fixture.runs.values()}
    assert found == {
        "/root/run/n/.boardd-group": "/root/run/n",
        "/root/run/n/rank_1": "/root/run/n",
        "/root/run/n/a/x/.boardd-group": "/root/run/n/a/x",
        "/root/run/n/rank_1/a/x": "/root/run/n/a/x",
    }


def test_an_end_of_a_run_waits_for_its_sub_runs_and_counts_once() -> None:
    fixture = Fixture()
    session = fixture.session
    session.define(definitions("run"), LOGDIRS)
    session.define(definitions("run", {2: "a", 3: "b"}, sub_run="x"), LOGDIRS)
    batch = session.receive(end_run(1))
    assert {part.run.path for part in batch.parts} == {"/root/run", "/root/run/x"}
    assert all(isinstance(part, EndPart) for part in batch.parts)
    session.finish(batch.parts[0], 0)
    assert session.written_sequence == 0
    session.finish(batch.parts[1], 0)
    assert (session.written_sequence, session.counters.written) == (1, 1)
    # Nothing is left to end; the record counts as written at once.
    assert session.receive(end_run(2)).parts == []
    assert (session.written_sequence, session.counters.written) == (2, 2)
    # Logging again takes the run up again.
    session.receive(scalar(3))
    assert [run.path for run in session.schema.held_runs()] == ["/root/run"]
    fixture.check()


def test_a_run_refused_later_rejects_at_once() -> None:
    fixture = Fixture()
    session = fixture.session
    session.define(definitions("run"), LOGDIRS)
    (part,) = session.receive(scalars(1, 5)).parts
    part.run.refusal = Refusal(pb.UNWRITABLE, "no right to write")
    session.reject(part, pb.RUN_REFUSED, "no right to write")
    assert session.receive(scalars(6, 5)).parts == []
    assert session.written_sequence == 10
    (told,) = take_rejections(session)
    assert (told.sequence, told.records, told.message) == (1, 10, "no right to write")
    # Another session's definition gives it another try.
    fixture.another(b"b" * 16).define(definitions("run"), LOGDIRS)
    assert len(session.receive(scalars(11, 5)).parts) == 1


def test_a_definition_sent_again_is_passed_over() -> None:
    fixture = Fixture()
    message = definitions("run", {1: "a", 2: "b"}, sub_run="s")
    assert len(fixture.session.define(message, LOGDIRS).runs) == 2
    assert fixture.session.define(message, LOGDIRS).runs == []
    with pytest.raises(RequestError, match="run 1 is defined already"):
        fixture.session.define(definitions("other"), LOGDIRS)
    with pytest.raises(RequestError, match="series 1 is defined already"):
        fixture.session.define(definitions("run", {1: "b"}, sub_run="s"), LOGDIRS)


def test_rejections_are_bounded_while_nobody_listens() -> None:
    fixture = Fixture()
    for sequence in range(1, 1001):
        text = f"reason {sequence}".encode()
        fixture.session.receive(encode(Frame(FrameKind.ABORTED, 0, sequence, 0, 0.0, 0, 0.0, text)))
    rejections = take_rejections(fixture.session)
    assert len(rejections) == MAX_REJECTIONS
    assert sum(item.records for item in rejections) == 1000
    assert take_rejections(fixture.session) == []


def test_reports_are_cumulative_and_bounded() -> None:
    session = Fixture().session
    for records in (1, 4):
        drops = [pb.DropCount(reason=f"r{at}", records=records, size_bytes=9) for at in range(100)]
        assert not session.report(pb.ClientReport(dropped=drops), wall_time=1e9).parts
    assert len(session.counters.dropped_by_client) == MAX_DROP_REASONS
    assert session.counters.dropped_by_client["r0"] == (4, 9)


def test_after_a_defect_another_session_may_go_past_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: object) -> None:
        raise MemoryError("no more")

    fixture = Fixture(Budgets(intake_bytes=100))
    session, other = fixture.session, fixture.another(b"b" * 16)
    for one in (session, other):
        one.define(definitions("run"), LOGDIRS)
        one.add_chunk(pb.TensorChunk(sequence=1, offset=0, data=bytes(60)))
    assert fixture.intake.may_read(session.session_id, session.held_bytes, session.tensor_bytes)
    payload = pb.Payload(tensors=[pb.Tensor(dtype="uint8", shape=[60])])
    # The tensor is complete, and the frame behind it meets a defect.
    monkeypatch.setattr(FrameTaker, "_take_end", fail)
    with pytest.raises(MemoryError):
        session.receive(summary(1, payload) + end_run(2))
    assert (session.pending_bytes, session.in_tensor) == (0, False)
    assert fixture.intake.held_bytes > fixture.intake.budget_bytes, "the other tensor is held"
    assert fixture.intake.may_read(other.session_id, other.held_bytes, other.tensor_bytes)


def test_chunks_of_records_already_received_are_ignored() -> None:
    fixture = Fixture(sequence=5)
    fixture.session.add_chunk(pb.TensorChunk(sequence=5, offset=70, data=b"x"))
    assert fixture.intake.held_bytes == 0
    fixture.session.add_chunk(pb.TensorChunk(sequence=8, data=b"x"))
    assert fixture.intake.held_bytes > 0
    # A scalar took the number: the chunk belongs to nothing.
    fixture.session.define(definitions("run"), LOGDIRS)
    for part in fixture.session.receive(scalars(6, 3)).parts:
        fixture.session.finish(part, 1)
    assert fixture.intake.held_bytes == 0


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 40), st.integers(-(2**63), 2**63 - 1)), max_size=30),
        max_size=6,
    )
)
def test_step_monitor_equals_itself_by_single_records(batches: list[list[tuple[int, int]]]) -> None:
    together, single = StepMonitor(), StepMonitor()
    for batch in batches:
        found = [tag for tag, step in batch if single.observe_one(tag, step)]
        tags = np.array([tag for tag, _ in batch], np.intp)
        steps = np.array([step for _, step in batch], np.int64)
        assert sorted(together.observe(tags, steps)) == sorted(found)
        assert together.backwards == single.backwards


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 40), st.integers(-(2**63), 2**63 - 1)), max_size=30),
        max_size=6,
    )
)
def test_step_monitor_equals_its_model(batches: list[list[tuple[int, int]]]) -> None:
    monitor = StepMonitor()
    highest: dict[int, int] = {}
    backwards = 0
    reported: set[int] = set()
    for batch in batches:
        new: list[int] = []
        for tag, step in batch:
            if step < highest.get(tag, -(2**63)):
                backwards += 1
                if tag not in reported:
                    reported.add(tag)
                    new.append(tag)
            highest[tag] = max(step, highest.get(tag, step))
        tags = np.array([tag for tag, _ in batch], np.intp)
        found = monitor.observe(tags, np.array([step for _, step in batch], np.int64))
        assert sorted(found) == sorted(new)
        assert monitor.backwards == backwards
