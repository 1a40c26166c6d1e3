"""Every error of the protocol has its status."""

from __future__ import annotations

import inspect

import grpc
import pytest
from boardd.core import errors
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameError


def protocol_errors() -> list[type[errors.ProtocolError]]:
    return [
        item
        for _, item in inspect.getmembers(errors, inspect.isclass)
        if issubclass(item, errors.ProtocolError) and item is not errors.ProtocolError
    ]


@pytest.mark.parametrize("kind", protocol_errors())
def test_every_error_is_in_the_table(kind: type[errors.ProtocolError]) -> None:
    error = kind(b"id") if kind is errors.UnknownSessionError else kind("text")  # type: ignore[arg-type]
    assert errors.status_name(error) in grpc.StatusCode.__members__
    assert errors.reason_name(error) in pb.Reason.keys()  # noqa: SIM118 - not a dict


def test_the_table_holds_nothing_else_and_no_status_twice_among_ours() -> None:
    assert set(errors.STATUS) == {*protocol_errors(), FrameError}
    ours = [errors.STATUS[kind] for kind in protocol_errors()]
    assert len(set(ours)) == len(ours)


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (errors.VersionError("x"), "FAILED_PRECONDITION", "PROTOCOL_VERSION"),
        (errors.RequestError("x"), "INVALID_ARGUMENT", "INVALID_RECORD"),
        (FrameError("x"), "INVALID_ARGUMENT", "INVALID_RECORD"),
        (errors.UnknownSessionError(b"x"), "NOT_FOUND", "UNKNOWN_SESSION"),
        (errors.CapacityError("x", pb.TOO_MANY_RUNS), "RESOURCE_EXHAUSTED", "TOO_MANY_RUNS"),
        (errors.SupersededError("x"), "ABORTED", "REASON_UNSPECIFIED"),
        (errors.StalledError("x"), "DEADLINE_EXCEEDED", "REASON_UNSPECIFIED"),
        (errors.DrainingError("x"), "UNAVAILABLE", "REASON_UNSPECIFIED"),
        (ZeroDivisionError("x"), "INTERNAL", "REASON_UNSPECIFIED"),
    ],
)
def test_statuses(error: Exception, status: str, reason: str) -> None:
    assert errors.status_name(error) == status
    assert errors.reason_name(error) == reason


def test_a_message_names_the_session() -> None:
    assert "6964" in str(errors.UnknownSessionError(b"id"))
