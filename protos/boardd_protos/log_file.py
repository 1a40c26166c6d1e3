"""The file in which a client keeps what it has logged until the daemon has written it.

It lies in memory (tmpfs, or a memfd), is written by its client alone, and says all that
a daemon must know to write what a dead client left, whether or not it ever heard of it::

    offset  type      field
         0  8 bytes   magic                b"boardlog"
         8  16 bytes  session_id
        24  u32       version              2
        28  u32       pid                  of the client, in its own pid namespace
        32  u64       log_offset           of the ring, see ``shared``
        40  u64       log_bytes
        48  u64       definitions_offset
        56  u64       definitions_bytes    room for definitions
        64  u64       freed_sequence       of the last frame whose space was given back
        72  u64       tail                 position of the oldest frame that is kept
        80  u64       definitions_used     bytes of definitions that are whole
        88  u64       acknowledged         every record up to this one is done
        96  u64       parked_tail          position of the oldest frame that is parked
       104  u64       parked_head          position behind the newest one
       112  4 u16s    lengths of what follows
       120  UTF-8     hostname, program, address of the daemon, path of this file or nothing

What is before the lengths, from ``freed_sequence`` on, changes while the client lives, each
by one aligned store. A client stores ``freed_sequence`` first, then ``tail``, and only then
uses the space again. So at the tail lies a frame with a sequence number of
``freed_sequence + 1`` at most: a lower one if the client died between the two stores, or if
the ring is empty and a frame of an earlier lap is there. What is not above
``freed_sequence`` is passed over.

Behind the definitions, at the next page, is room for as many bytes as the ring has. There
lie the *parked* frames: those of runs that are held up, and that are not in the ring any
more. What is neither parked nor in the ring is done. Parked frames lie back to back from
``parked_tail`` to ``parked_head``, in no order, some perhaps twice; none wraps around.
What has the flag PADDING is passed over. They are written, and ``parked_head`` is stored,
before ``freed_sequence`` says that they left the ring; so who reads ``freed_sequence``
first, and what is parked then, has all.

Definitions are entries back to back, each a u32 length and a serialized ``Definitions``.
None is ever freed. A client writes a run's or a series' entry before a frame that refers
to it; so who copies frames first, and definitions then, has those of all frames.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from boardd_protos.frame import ALIGNMENT
from boardd_protos.shared import MIN_RING_BYTES, SESSION_ID_BYTES

#: Bytes before the ring and the definitions.
LOG_HEADER_BYTES: Final = 4096

#: Offset of ``freed_sequence``, which ``tail`` follows.
FREED_OFFSET: Final = 64
DEFINITIONS_USED_OFFSET: Final = 80
#: Offset of ``acknowledged``, which ``parked_tail`` and ``parked_head`` follow.
ACKNOWLEDGED_OFFSET: Final = 88

_MAGIC: Final = b"boardlog"
_VERSION: Final = 2
_FIXED: Final = struct.Struct(f"<8s{SESSION_ID_BYTES}sIIQQQQ")
_WORDS: Final = struct.Struct("<6Q")
_LENGTHS: Final = struct.Struct("<HHHH")
_TEXTS_OFFSET: Final = 112
_MAX_TEXT_BYTES: Final = 990
_LENGTH: Final = struct.Struct("<I")
_MAX_NUMBER: Final = 1 << 62
_PAGE_BYTES: Final = 4096


class LogFileError(ValueError):
    """Bytes that are no log of a client."""


class LogVersionError(LogFileError):
    """A log of a version that is not known here; another daemon may know it."""


class LogWords(NamedTuple):
    """What of a header changes while its client lives."""

    freed_sequence: int
    tail: int
    definitions_used: int
    acknowledged_sequence: int = 0
    parked_tail: int = 0
    parked_head: int = 0


class LogHeader(NamedTuple):
    """What of a header does not change."""

    session_id: bytes
    pid: int
    log_offset: int
    log_bytes: int
    definitions_offset: int
    definitions_bytes: int
    hostname: str = ""
    program: str = ""
    address: str = ""
    path: str = ""

    @property
    def parked_offset(self) -> int:
        """Of what is parked, which has as many bytes as the ring."""
        end = max(
            self.log_offset + self.log_bytes, self.definitions_offset + self.definitions_bytes
        )
        return -(-end // _PAGE_BYTES) * _PAGE_BYTES

    @property
    def size_bytes(self) -> int:
        """The least that the file has."""
        return self.parked_offset + self.log_bytes

    def encode(self) -> bytes:
        """``LOG_HEADER_BYTES`` of a client that has logged nothing; long texts are cut."""
        texts = [_cut(text) for text in self[6:]]
        fixed = _FIXED.pack(_MAGIC, self.session_id, _VERSION, *self[1:6])
        header = (
            fixed
            + _WORDS.pack(*(0 for _ in LogWords._fields))
            + _LENGTHS.pack(*map(len, texts))
            + b"".join(texts)
        )
        return header.ljust(LOG_HEADER_BYTES, b"\0")

    @classmethod
    def decode(cls, data: bytes) -> LogHeader:
        """Raises ``LogFileError`` for what no client writes."""
        if len(data) < LOG_HEADER_BYTES or not data.startswith(_MAGIC):
            raise LogFileError("it does not begin as a log does")
        _, session_id, version, *numbers = _FIXED.unpack_from(data)
        if version != _VERSION:
            raise LogVersionError(f"version {version} of the log; {_VERSION} is known here")
        at = _TEXTS_OFFSET + _LENGTHS.size
        texts = []
        for length in _LENGTHS.unpack_from(data, _TEXTS_OFFSET):
            texts.append(data[at : at + min(length, _MAX_TEXT_BYTES)].decode(errors="replace"))
            at += length
        if any("\0" in text for text in texts):
            raise LogFileError("a zero character in its texts, which no path can have")
        header = cls(session_id, *numbers, *texts)
        log_end = header.log_offset + header.log_bytes
        if (
            header.log_bytes < MIN_RING_BYTES
            or header.log_bytes % ALIGNMENT
            or header.log_offset % ALIGNMENT
            or header.log_offset < LOG_HEADER_BYTES
            or log_end > _MAX_NUMBER
        ):
            raise LogFileError(f"a ring of {header.log_bytes} bytes at {header.log_offset}")
        if (
            header.definitions_offset < LOG_HEADER_BYTES
            or header.definitions_offset + header.definitions_bytes > _MAX_NUMBER
        ):
            raise LogFileError(
                f"definitions of {header.definitions_bytes} bytes at {header.definitions_offset}"
            )
        return header


def decode_words(data: bytes, header: LogHeader) -> LogWords:
    """What of the header ``data`` changes. Raises ``LogFileError`` for what cannot be."""
    words = LogWords(*_WORDS.unpack_from(data, FREED_OFFSET))
    if (
        max(words) > _MAX_NUMBER
        or words.tail % ALIGNMENT
        or words.parked_tail % ALIGNMENT
        or words.parked_head % ALIGNMENT
        or words.parked_head > words.parked_tail + header.log_bytes
        or words.definitions_used > header.definitions_bytes
    ):
        raise LogFileError(
            f"freed up to record {words.freed_sequence} and position {words.tail}, with "
            f"{words.definitions_used} bytes of definitions, parked from position "
            f"{words.parked_tail} to {words.parked_head}"
        )
    return words


def encode_entry(definition: bytes) -> bytes:
    """An entry of the definitions, which holds a serialized ``Definitions``."""
    return _LENGTH.pack(len(definition)) + definition


def decode_entries(data: bytes) -> Iterator[bytes]:
    """Yields what the entries hold that lie back to back in ``data``.

    Ends before one that is cut off.
    """
    at = 0
    while len(data) - at >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        if length > len(data) - at:
            return
        yield data[at : at + length]
        at += length


def _cut(text: str) -> bytes:
    """Its UTF-8, cut between characters; zero characters, which no path has, are replaced."""
    text = text.replace("\0", "?")
    return text.encode(errors="replace")[:_MAX_TEXT_BYTES].decode(errors="ignore").encode()
