"""Errors of the protocol, each named for what the caller can do about it.

``STATUS`` is the one table from an error to its gRPC code (by name, so that
the core stays free of gRPC). An error that is in no row is a defect of the
daemon and answers INTERNAL. The reason travels beside the text, in the
trailing metadata (``boardd_protos.reasons``).
"""

from __future__ import annotations

from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameError


class ProtocolError(Exception):
    """A call that is refused; the message holds the offending value."""

    def __init__(self, message: str, reason: int = pb.REASON_UNSPECIFIED) -> None:
        super().__init__(message)
        self.reason = reason


class VersionError(ProtocolError):
    """Upgrade the side that the message names."""

    def __init__(self, message: str) -> None:
        super().__init__(message, pb.PROTOCOL_VERSION)


class RequestError(ProtocolError):
    """Do not send this again: the client contradicts the protocol."""

    def __init__(self, message: str) -> None:
        super().__init__(message, pb.INVALID_RECORD)


class UnknownSessionError(ProtocolError):
    """Open the session again. The text holds no more of the id, a secret, than to tell it by."""

    def __init__(self, session_id: bytes) -> None:
        super().__init__(
            f"session {session_id[:2].hex() or '(empty)'}... is not open here; open it",
            pb.UNKNOWN_SESSION,
        )


class CapacityError(ProtocolError):
    """Try later, or raise the budget that the message names."""


class SupersededError(ProtocolError):
    """Stop: a newer stream, or the session's end, took this stream's place."""


class StalledError(ProtocolError):
    """Connect again and send on: the stream fell silent in the middle of a tensor."""


class DrainingError(ProtocolError):
    """Connect again later: this daemon is shutting down."""


#: The gRPC status of each error.
STATUS: Final[dict[type[Exception], str]] = {
    VersionError: "FAILED_PRECONDITION",
    RequestError: "INVALID_ARGUMENT",
    FrameError: "INVALID_ARGUMENT",
    UnknownSessionError: "NOT_FOUND",
    CapacityError: "RESOURCE_EXHAUSTED",
    SupersededError: "ABORTED",
    StalledError: "DEADLINE_EXCEEDED",
    DrainingError: "UNAVAILABLE",
}


def status_name(error: Exception) -> str:
    """The name of the gRPC code that answers ``error``."""
    return STATUS.get(type(error), "INTERNAL")


def reason_name(error: Exception) -> str:
    """The name of the ``Reason`` that goes with ``error``."""
    if isinstance(error, FrameError):
        return str(pb.Reason.Name(pb.INVALID_RECORD))
    return str(pb.Reason.Name(getattr(error, "reason", pb.REASON_UNSPECIFIED)))
