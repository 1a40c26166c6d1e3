"""What a client sends on its stream, through the session that it is sent to."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from boardd.core.budget import Budgets, Intake
from boardd.core.errors import RequestError
from boardd.core.refusals import Refusal
from boardd.core.runs.run_state import Runs
from boardd.core.session.batch import Batch, RunPart
from boardd.core.session.session import Session
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameError
from google.protobuf.message import DecodeError

from fuzz.script import Script

SESSION_ID: Final = bytes(range(16))
_BUDGETS: Final = Budgets(max_runs=8, max_series_per_run=16, max_series_per_session=24)
#: One more part comes back at each message whose first byte is even.
_PARTS_OUT: Final = 4


def messages(data: bytes) -> None:
    """Messages in any order; whatever they hold, the counts balance."""
    script = Script(data)
    intake, runs = Intake(_BUDGETS.intake_bytes), Runs(_BUDGETS)
    request = pb.OpenRequest(session_id=SESSION_ID, hostname="host", pid=7)
    session = Session(request, script.number(), _BUDGETS, runs, intake)
    out: list[RunPart] = []
    while script:
        choice = script.number()
        with suppress(DecodeError, RequestError, FrameError):
            out += _take(session, pb.ClientMessage.FromString(script.part())).parts
        while len(out) > _PARTS_OUT or (out and choice % 2):
            choice >>= 1
            _bring_back(session, out.pop(choice % len(out)), choice)
        _check(session, intake)
    out += session.end().parts
    while out:
        _bring_back(session, out.pop(), 0)
    _check(session, intake)
    assert session.is_quiet
    assert session.counters.pending == 0
    session.forget()
    assert intake.held_bytes == 0
    assert not len(runs)


def _take(session: Session, message: pb.ClientMessage) -> Batch:
    kind = message.WhichOneof("message")
    if kind == "records" and message.records.sparse:
        return session.receive_sparse(message.records)
    if kind == "records":
        return session.receive(message.records.frames)
    if kind == "definitions":
        _define(session, message.definitions)
    elif kind == "chunk":
        session.add_chunk(message.chunk)
    elif kind == "report":
        return session.report(message.report, 1e9)
    elif kind == "heard_rejections":
        session.telling.heard(message.heard_rejections)
    return Batch()


def _define(session: Session, definitions: pb.Definitions) -> None:
    logdirs: dict[str, str | Refusal] = {
        run.logdir: Refusal(pb.OUTSIDE_ROOTS, "outside")
        if run.logdir.startswith("/")
        else f"/logs/{run.logdir}"
        for run in definitions.runs
    }
    schema = session.schema
    schema.paths.resolve({path: path for path in schema.unresolved(definitions, logdirs)})
    to_purge = schema.paths.to_purge(definitions, logdirs)
    schema.paths.found({number: ["", "curve"] for number in to_purge})
    session.define(definitions, logdirs)


def _bring_back(session: Session, part: RunPart, choice: int) -> None:
    if choice % 4 == 1:
        session.reject(part, pb.REDUCTION_FAILED, "it failed")
    else:
        session.finish(part, 1, part.counted_records if choice % 4 == 2 else 0)


def _check(session: Session, intake: Intake) -> None:
    counters = session.counters
    assert counters.balanced, counters
    assert counters.pending >= 0, counters
    assert session.written_sequence <= session.received_sequence
    assert intake.held_bytes == session.held_bytes
    counters.message()
