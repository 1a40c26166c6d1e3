"""What is held is what is charged: records and definitions against the memory they take."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterable

import pytest
from boardd.core.budget import Budgets, Intake
from boardd.core.intake.walker import walk_message
from boardd.core.runs.run_state import Runs
from boardd.core.session.session import Session
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import Frame, FrameKind, encode

RECORDS = 2000


def make_session(budgets: Budgets, runs: Runs, intake: Intake, key: int = 0) -> Session:
    request = pb.OpenRequest(session_id=bytes([key] * 16), pid=key)
    session = Session(request, 0, budgets, runs, intake)
    run = pb.RunDefinition(run=1, logdir=f"run{key}", rank=-1)
    session.define(pb.Definitions(runs=[run]), {run.logdir: f"/{run.logdir}"})
    return session


def frame(sequence: int, kind: FrameKind, payload: bytes = b"") -> bytes:
    return encode(Frame(kind, 0, sequence, 1, 1.0, 1, 0.5, payload))


def summaries() -> Iterable[bytes]:
    """Each in a message of its own, of 56 bytes."""
    return (frame(n, FrameKind.SUMMARY, n.to_bytes(8, "big")) for n in range(1, RECORDS + 1))


def scalars_by_one() -> Iterable[bytes]:
    return (frame(n, FrameKind.SCALAR) for n in range(1, RECORDS + 1))


def scalars_together() -> Iterable[bytes]:
    return [b"".join(scalars_by_one())]


def in_turns() -> Iterable[bytes]:
    """A scalar, a summary, and so on, in one message."""
    scalar, summary = list(scalars_by_one()), list(summaries())
    return [b"".join(summary[n] if n % 2 else scalar[n] for n in range(RECORDS))]


@pytest.mark.parametrize("messages", [summaries, scalars_by_one, scalars_together, in_turns])
@pytest.mark.parametrize("is_shared", [False, True])
def test_the_intake_is_charged_what_records_hold(
    messages: Callable[[], Iterable[bytes]], *, is_shared: bool
) -> None:
    budgets = Budgets()
    intake = Intake(budgets.intake_bytes)
    session = make_session(budgets, Runs(budgets), intake)
    series = pb.SeriesDefinition(series=1, run=1, tag="loss")
    session.define(pb.Definitions(series=[series]), {})
    maps = {0: memoryview(b"")} if is_shared else None
    before, held = intake.held_bytes, []
    gc.collect()
    tracemalloc.start()
    try:
        for message in messages():
            held += session.receive_walked(
                walk_message(message, session.received_sequence), maps
            ).parts
            del message
        gc.collect()
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    charged_bytes = intake.held_bytes - before
    assert len(held) in (1, RECORDS)
    assert taken_bytes <= 1.1 * charged_bytes
    assert charged_bytes <= 3 * taken_bytes


@pytest.mark.parametrize("tag_bytes", [8, 200, 1000])
def test_definitions_are_charged_what_they_hold(tag_bytes: int) -> None:
    budgets = Budgets()
    runs = Runs(budgets)
    session = make_session(budgets, runs, Intake(budgets.intake_bytes))
    before = runs.definitions.held_bytes
    series = [
        pb.SeriesDefinition(series=n, run=1, tag=f"{n:0{tag_bytes}}") for n in range(1, RECORDS)
    ]
    message = pb.Definitions(series=series).SerializeToString()
    gc.collect()
    tracemalloc.start()
    try:
        session.define(pb.Definitions.FromString(message), {})
        gc.collect()
        taken_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    charged_bytes = runs.definitions.held_bytes - before
    assert taken_bytes <= charged_bytes <= 3 * taken_bytes
    session.forget()
    assert runs.definitions.held_bytes == 0


def test_the_names_of_all_sessions_have_one_budget_of_which_each_gets_a_part() -> None:
    budgets = Budgets(max_definition_bytes=1 << 20)
    runs, intake = Runs(budgets), Intake(budgets.intake_bytes)
    series = [pb.SeriesDefinition(series=n, run=1, tag=f"{n:0900}") for n in range(1, 1000)]
    known = []
    for key in range(12):
        session = make_session(budgets, runs, intake, key)
        session.define(pb.Definitions(series=series), {})
        known.append(sum(session.schema.find_one(one.series).refusal == 0 for one in series))
        assert session.schema.find_one(999).refusal == pb.TOO_MANY_SERIES
    assert min(known) >= 20, "the floor of each"
    assert runs.definitions.held_bytes <= (1 << 20) + 12 * (64 << 10)
