"""Parts of serialized messages, for what is large and made by hand.

Source: protobuf.dev, "Encoding". A field of a length and its bytes is a tag
(number << 3 | 2), the length as a varint, and the bytes.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

from boardd_protos.summary_kind import SummaryKind


class EncodedValue(NamedTuple):
    """A serialized ``Summary.Value``, its tag, and what kind of summary it is there."""

    tag: bytes
    kind: SummaryKind
    data: bytes


@functools.lru_cache(maxsize=1024)
def varint(number: int) -> bytes:
    """Returns ``number``, not negative, in groups of seven bits, the lowest first."""
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
