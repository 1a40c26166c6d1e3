"""Memory that a client shares with the daemon of its host.

A *log* is a file in memory with the client's records and definitions (``log_file``). The
daemon reads it and never maps it: its size is not sealed, and a file that is cut off
would kill who maps it. A *map* is a memfd, sealed against every change of its size,
that the client writes and the daemon only maps to read. Map 0 holds the client's arena;
a tensor that is larger than the arena has a map of its own, numbered from 1. A ``Slot``
(boardd.proto) names bytes of a map.

**The ring** has ``log_bytes`` bytes at ``log_offset`` of the log. Positions
count the bytes appended since the session began, and never wrap; the frame at a
position lies at ``log_offset + position % log_bytes``, 8-byte aligned and whole.
If the bytes up to the ring's end are too few for the next frame, they are a
PADDING (``frame``), and the frame begins at the ring's start.

A frame is first written with kind UNFINISHED, and its kind is set when all else
is there. So whoever finds the ring of a dead client reads on from the last
committed position, or from the log's ``tail``, while the kind is set and the sequence
number is the next one; what is CLAIMED there is lost. A living client's ring is read
only up to the position that it has committed.

**Handover** goes over a Unix socket of type SOCK_SEQPACKET that lies beside the daemon's
gRPC socket, named as that with ``local_socket.HANDOVER_SUFFIX``. Each message is a
``Handover``; those that share a map carry its descriptor (SCM_RIGHTS), that of map 0 also
the log's, behind it. The first shares map 0, before or after the session is opened. The
daemon answers each that shares a map with a ``HandoverReply``, and a client lets it read no
record that lies in a map before that: of one that is refused, it opens the session again
and sends the records over the stream. The daemon checks the peer's user and the seals. The
connection then stays open for as long as the client lives: its end tells the daemon that
the client is gone, and that what is left in the ring is to be written.

**Commits** say up to where the ring may be read. They go over the stream or, if the daemon
says that it takes them (``OpenReply.takes_commits``), over this connection, which costs both
ends a fraction of that. The two are read independently. So a commit may go this way only if
all that was sent over the stream before is known to be read: definitions above all.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from boardd_protos.frame import HEADER_BYTES

#: ``F_ADD_SEALS`` and ``F_GET_SEALS`` of fcntl(2), which Python 3.10 does not name.
F_ADD_SEALS: Final = 1033
F_GET_SEALS: Final = 1034
#: ``F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW``: what every map must have.
SEALS: Final = 0x0001 | 0x0002 | 0x0004
#: What it must have besides where the kernel knows it (Linux 5.1): set once the client has
#: mapped it, nobody else can write to it, nor take memory out of it.
F_SEAL_FUTURE_WRITE: Final = 0x0010

#: Maps of one session at once.
MAX_MAPS: Final = 256

#: Actions of a ``Handover``.
SHARE: Final = 1
RELEASE: Final = 2  #: the client is done with a map; never map 0

SESSION_ID_BYTES: Final = 16

#: No ring is smaller: two scalars' frames.
MIN_RING_BYTES: Final = 2 * HEADER_BYTES

#: A client waits this long for the reply to its handover of map 0, and a daemon this long for
#: the first message of a connection.
HANDOVER_SECS: Final = 5.0

_MAGIC: Final = b"boardd\2\0"
_HANDOVER: Final = struct.Struct(f"<8s{SESSION_ID_BYTES}sIIQ")
_COMMIT: Final = struct.Struct("<8sQQ")
_REPLY: Final = struct.Struct("<8sII")

HANDOVER_BYTES: Final = _HANDOVER.size
COMMIT_BYTES: Final = _COMMIT.size
REPLY_BYTES_MAX: Final = 1024


class HandoverError(ValueError):
    """Bytes that are no message of the handover."""


class Handover(NamedTuple):
    """From the client: a map is shared or released; ``size_bytes`` is 0 for RELEASE."""

    session_id: bytes
    action: int
    map_number: int
    size_bytes: int = 0

    def encode(self) -> bytes:
        """Its bytes."""
        return _HANDOVER.pack(_MAGIC, *self)

    @classmethod
    def decode(cls, data: bytes) -> Handover:
        """Raises ``HandoverError``."""
        if len(data) != HANDOVER_BYTES or not data.startswith(_MAGIC):
            raise HandoverError(f"{len(data)} bytes, no handover of this protocol")
        return cls(*_HANDOVER.unpack(data)[1:])


class Commit(NamedTuple):
    """From the client: its ring may be read up to the frame of ``sequence``.

    ``position`` is where the ring goes on behind it.
    """

    sequence: int
    position: int

    def encode(self) -> bytes:
        """Its bytes."""
        return _COMMIT.pack(_MAGIC, *self)

    @classmethod
    def decode(cls, data: bytes) -> Commit:
        """Raises ``HandoverError``."""
        if len(data) != COMMIT_BYTES or not data.startswith(_MAGIC):
            raise HandoverError(f"{len(data)} bytes, no commit of this protocol")
        return cls(*_COMMIT.unpack(data)[1:])


class HandoverReply(NamedTuple):
    """From the daemon: an empty ``refusal`` means that it holds the map."""

    refusal: str = ""
    map_number: int = 0

    def encode(self) -> bytes:
        """Its bytes; a long refusal is cut."""
        text = self.refusal.encode()[: REPLY_BYTES_MAX - _REPLY.size]
        return _REPLY.pack(_MAGIC, len(text), self.map_number) + text

    @classmethod
    def decode(cls, data: bytes) -> HandoverReply:
        """Raises ``HandoverError``."""
        if len(data) < _REPLY.size or not data.startswith(_MAGIC):
            raise HandoverError(f"{len(data)} bytes, no reply of this protocol")
        _, _, map_number = _REPLY.unpack_from(data)
        return cls(data[_REPLY.size :].decode(errors="replace"), map_number)
