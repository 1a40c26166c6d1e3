"""What was left out of a session's definitions, and what its records are told."""

from __future__ import annotations

import numpy as np
from boardd.core.budget import Budgets
from boardd.core.runs.defined_runs import MAX_ENDED_PLACES
from boardd.core.runs.left_out import LeftOut
from boardd.core.runs.run_paths import RunPaths
from boardd.core.runs.run_state import Runs
from boardd.core.runs.schema import Schema
from boardd_protos import boardd_pb2 as pb
from support.raw_client import definitions

LOGDIRS = {f"run{number}": f"/root/run{number}" for number in range(1000)}


def make_schema(**budgets: int) -> Schema:
    bounds = Budgets(**budgets)
    return Schema(b"a" * 16, "host", 7, bounds, Runs(bounds))


def reasons(schema: Schema, *series: int) -> list[int]:
    found: list[int] = schema.find(np.array(series, np.uint32))[2].tolist()
    assert found == [schema.find_one(number).refusal for number in series]
    return found


def test_each_series_is_told_its_own_reason_and_of_its_own_run() -> None:
    schema = make_schema(max_series_per_session=2, max_runs=2)
    for run in (1, 2, 3):
        schema.define(
            definitions(f"run{run}", {run * 10: "a", run * 10 + 1: "b"}, run=run), LOGDIRS
        )
    assert reasons(schema, 10, 11, 20, 21, 30, 99) == [
        0,
        0,
        pb.TOO_MANY_SERIES,
        pb.TOO_MANY_SERIES,
        pb.TOO_MANY_RUNS,
        pb.UNDEFINED_SERIES,
    ]
    assert schema.runs_of(np.array([10, 20, 30, 99], np.uint32)).tolist() == [1, 2, 3, 0]
    assert "--max-series-per-session" in schema.why(20)
    assert "--max-runs" in schema.why(30)
    assert schema.why(99) == "series 99 is not defined"


def test_what_is_defined_after_all_is_left_out_no_more() -> None:
    schema = make_schema(max_runs=1)
    first, second = definitions("run1", {10: "a"}), definitions("run2", {20: "a"}, run=2)
    schema.define(first, LOGDIRS)
    schema.define(second, LOGDIRS)
    assert reasons(schema, 20) == [pb.TOO_MANY_RUNS]
    schema.release([1])
    schema.define(second, LOGDIRS)
    assert reasons(schema, 20) == [0]
    assert schema.run_of(20) == 2


def test_it_is_bounded() -> None:
    left_out = LeftOut(most=3)
    assert left_out.reason(1) == pb.UNDEFINED_SERIES
    for number in range(1, 6):
        left_out.add_run(number)
        left_out.add_series(100 + number, number, run_is_defined=False)
    assert [left_out.run_of(100 + number) for number in range(1, 6)] == [0, 0, 3, 4, 5]
    assert left_out.reason(105) == pb.TOO_MANY_RUNS
    assert left_out.reason(101) == pb.TOO_MANY_SERIES, "it may be one that was forgotten"
    left_out.add_series(101, 1, run_is_defined=False)
    assert left_out.reason(101) == pb.UNDEFINED_SERIES, "its run was forgotten"


def test_runs_that_were_ended_and_are_out_count() -> None:
    budgets = Budgets(max_runs=10)
    runs = Runs(budgets)
    schema = Schema(b"a" * 16, "host", 7, budgets, runs)
    refused = 0
    for number in range(1, 400):
        schema.forget_ended(lambda _: True)
        defined = schema.define(definitions(f"run{number}", {number: "a"}, run=number), LOGDIRS)
        refused += len(defined.refusals)
        for run in defined.runs:
            run.pending += 1  # its disk is full
        if number in schema:
            schema.release([number])
    assert refused == 399 - 10, "the daemon has its budget"
    assert len(runs) == 10
    assert len(schema.numbers()) <= 10 + MAX_ENDED_PLACES
    # They are written after all.
    for run in runs.values():
        run.pending = 0
    schema.forget_ended(lambda _: False)
    assert not schema.define(definitions("run500", {500: "a"}, run=500), LOGDIRS).refusals


def test_definitions_that_come_again_of_a_run_that_is_over_are_not_looked_up() -> None:
    schema = make_schema()
    assert isinstance(schema.paths, RunPaths)
    sent = [definitions(f"run{number}", {number: "a"}, run=number) for number in range(1, 200)]
    for number, message in enumerate(sent, 1):
        schema.define(message, LOGDIRS)
        schema.release([number])
    schema.forget_ended(lambda _: False)
    assert 1 not in schema
    assert schema.unresolved(sent[0], LOGDIRS) == set()


def test_runs_of_a_session_that_were_ended_and_are_out_count_past_those_that_are_kept() -> None:
    schema = Schema(b"a" * 16, "host", 7, Budgets(max_runs=10), Runs(Budgets(max_runs=10_000)))
    for number in range(1, 400):
        schema.forget_ended(lambda _: True)
        schema.define(definitions(f"run{number}", {number: "a"}, run=number), LOGDIRS)
        if number in schema:
            schema.release([number])
    assert len(schema.numbers()) == 10 + MAX_ENDED_PLACES
    assert reasons(schema, 399) == [pb.TOO_MANY_RUNS]
