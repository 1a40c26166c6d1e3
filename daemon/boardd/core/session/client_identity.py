"""What a client says of itself, for people."""

from __future__ import annotations

from typing import NamedTuple

from boardd_protos import boardd_pb2 as pb
from boardd_protos.limits import MAX_PROGRAM_TEXT
from boardd_protos.printable import printable


class ClientIdentity(NamedTuple):
    """A client's process. Texts are printable and short; those that it has not told are empty."""

    hostname: str
    pid: int
    program: str
    version: str  #: of its boardd

    @classmethod
    def of(cls, request: pb.OpenRequest) -> ClientIdentity:
        """What ``request`` says."""
        return cls(
            _shown(request.hostname),
            request.pid,
            _shown(request.program),
            _shown(request.client_version),
        )


def _shown(text: str) -> str:
    return printable(text[:MAX_PROGRAM_TEXT])[:MAX_PROGRAM_TEXT]
