"""What a session tells its client of rejections."""

from __future__ import annotations

from boardd.core.session.session import Session
from boardd_protos import boardd_pb2 as pb


def take_rejections(session: Session) -> list[pb.Rejected]:
    """The rejections that are to be told now; they are taken for told."""
    return [message.rejected for message in session.telling.take() if message.HasField("rejected")]
