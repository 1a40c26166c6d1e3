"""A session's id is its client's secret, and good for the transport that it came over.

Over TCP an id stands for another session than the same id over the Unix socket: in the
daemon it is replaced by a hash of it. A peer on TCP that has learned a local client's
id can neither reach that session nor find out that it exists, and its records are never
taken for that client's.
"""

from __future__ import annotations

import hashlib
from typing import Final

import grpc.aio
from boardd_protos.shared import SESSION_ID_BYTES

_UNIX: Final = "unix:"
_OVER_TCP: Final = b"boardd over TCP"


def bound_id(session_id: bytes, context: grpc.aio.ServicerContext) -> bytes:
    """The id by which the daemon knows what the peer of ``context`` calls ``session_id``."""
    if context.peer().startswith(_UNIX) or len(session_id) != SESSION_ID_BYTES:
        return session_id
    return hashlib.blake2b(session_id, digest_size=SESSION_ID_BYTES, person=_OVER_TCP).digest()
