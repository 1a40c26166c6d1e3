"""A record of a merged run goes to its group's journal, and as a copy to its rank's own run."""

from __future__ import annotations

import pytest
from boardd.core.budget import Budgets, Intake
from boardd.core.refusals import Refusal
from boardd.core.runs.run_state import Runs
from boardd.core.session.batch import DropPart, PurgePart, RunPart, ScalarPart, SummaryPart
from boardd.core.session.session import Session
from boardd_protos import boardd_pb2 as pb
from support.raw_client import definitions, end_run, scalar, summary

LOGDIRS: dict[str, str | Refusal] = {"run": "/root/run"}
JOURNAL, OWN = "/root/run/.boardd-group", "/root/run/rank_1"


def merged(per_rank: str = "", rank: int = 1, run: int = 1, **fields: object) -> pb.Definitions:
    message = definitions("run", {run: "a"}, run=run, rank=rank, world_size=4)
    message.runs[0].per_rank = per_rank
    message.runs[0].process_id = b"p" * 16
    for name, value in fields.items():
        setattr(message.runs[0], name, value)
    return message


def begun(message: pb.Definitions, budgets: Budgets | None = None) -> Session:
    budgets = budgets or Budgets()
    request = pb.OpenRequest(session_id=b"a" * 16, hostname="host", pid=7)
    session = Session(request, 0, budgets, Runs(budgets), Intake(budgets.intake_bytes))
    session.define(message, LOGDIRS)
    return session


def where(parts: list[RunPart]) -> list[tuple[str, bool]]:
    return [(part.run.path, part.is_copy) for part in parts]


@pytest.mark.parametrize(
    ("per_rank", "of_scalar", "of_summary"),
    [
        ("", [(JOURNAL, False), (OWN, True)], [(JOURNAL, False)]),
        ("all", [(JOURNAL, False), (OWN, True)], [(JOURNAL, False), (OWN, True)]),
        ("none", [(JOURNAL, False)], [(JOURNAL, False)]),
    ],
)
def test_per_rank_says_what_is_copied(
    per_rank: str, of_scalar: list[tuple[str, bool]], of_summary: list[tuple[str, bool]]
) -> None:
    session = begun(merged(per_rank))
    assert where(session.receive(scalar(1, series=1)).parts) == of_scalar
    parts = session.receive(summary(2, pb.Payload(), series=1)).parts
    assert where(parts) == of_summary
    assert {part.run.tags[part.tag] for part in parts if isinstance(part, SummaryPart)} == {b"a"}


def test_a_client_of_the_version_before_finds_all_that_a_rank_logs_in_its_directory() -> None:
    session = begun(merged(process_id=b""))  # it knows neither this nor per_rank
    parts = session.receive(summary(1, pb.Payload(), series=1)).parts
    assert where(parts) == [(JOURNAL, False), (OWN, True)]


def test_a_record_is_counted_once_and_acknowledged_when_both_parts_are_back() -> None:
    session = begun(merged())
    journal, own = session.receive(scalar(1, series=1)).parts
    assert (session.counters.accepted, session.counters.pending) == (1, 1)
    session.finish(journal, 10)
    assert (session.counters.written, session.counters.pending) == (1, 0)
    assert session.written_sequence == 0, "its copy is still out"
    session.reject(own, pb.RUN_REFUSED, "no copy")
    assert session.written_sequence == 1
    assert session.counters.balanced
    assert not session.counters.rejected, "it is in the journal"


def test_pieces_of_a_copy_are_copies() -> None:
    session = begun(merged())
    batch = session.receive(scalar(1, series=1) + scalar(2, series=1))
    journal, own = batch.parts
    assert isinstance(own, ScalarPart)
    session.finish(own.split_front(1), 10)
    session.reject(own.split_off(2, 1, 2), pb.INVALID_NAME, "another kind")
    assert (session.counters.pending, session.counters.written) == (2, 0)
    session.finish(own, 0)
    session.finish(journal, 20)
    assert (session.counters.written, session.counters.rejected) == (2, {})


def test_ranks_of_one_process_are_told_apart_and_writers_of_one_rank_are_not() -> None:
    session = begun(merged())
    session.define(merged(rank=2, run=2), LOGDIRS)
    session.define(merged("none", run=3), LOGDIRS)
    frames = b"".join(scalar(number, series=series) for number, series in enumerate((1, 2, 3), 1))
    journals = [part for part in session.receive(frames).parts if not part.is_copy]
    assert [part.numbers for part in journals] == [(1, 3), (2,)]
    assert [list(part.columns.sequence) for part in journals if isinstance(part, ScalarPart)] == [
        [1, 3],
        [2],
    ]


def test_ends_and_purges_go_to_both() -> None:
    session = begun(merged(purge_step=3, epoch=9))
    parts = session.receive(scalar(1, series=1)).parts
    purges = [part for part in parts if isinstance(part, PurgePart)]
    assert [part.run.path for part in purges] == [JOURNAL, OWN]
    ends = session.receive(end_run(2)).parts
    assert [(part.run.path, part.records, part.numbers) for part in ends] == [
        (JOURNAL, 1, (1,)),
        (OWN, 0, (1,)),
    ]
    assert not session.schema.held_runs()


@pytest.mark.parametrize(("per_rank", "path"), [("scalars", OWN), ("none", JOURNAL)])
def test_drops_are_told_by_the_rank_if_it_has_a_run(per_rank: str, path: str) -> None:
    session = begun(merged(per_rank))
    report = pb.ClientReport(dropped=[pb.DropCount(run=1, reason="full", records=3, step=4)])
    (part,) = session.report(report, 1.0).parts
    assert isinstance(part, DropPart)
    assert (part.run.path, part.dropped) == (path, {"full": 3})


def test_a_refused_own_run_is_told_and_refuses_nothing_else() -> None:
    session = begun(merged(), Budgets(max_runs=1))
    (told,) = [message.run_refused for message in session.telling.take() if message.run_refused.run]
    assert (told.run, told.sub_run, told.reason) == (1, "rank_1", pb.TOO_MANY_RUNS)
    assert where(session.receive(scalar(1, series=1)).parts) == [(JOURNAL, False)]


@pytest.mark.parametrize(
    ("field", "value"), [("per_rank", "some"), ("reduce", "median"), ("name", ".boardd-group/x")]
)
def test_what_cannot_be_merged_is_refused(field: str, value: str) -> None:
    session = begun(merged(**{field: value}))
    told = [message.run_refused for message in session.telling.take()]
    assert [refused.run for refused in told if refused.run] == [1]
    assert not session.receive(scalar(1, series=1)).parts


def test_each_tag_says_how_it_is_merged_and_the_first_definition_counts() -> None:
    message = merged(reduce="max")
    message.series.add(series=2, run=1, tag="b", reduce="sum")
    message.series.add(series=3, run=1, tag="b", reduce="min")
    session = begun(message)
    (journal, _) = session.schema.runs()
    assert (journal.tags, journal.reductions) == ([b"a", b"b"], ["max", "sum"])
