"""Scalars that are tensors, as a daemon of 0.1.0 understands them: as plain ones.

It would show such a record as a tensor, and a later daemon would find two kinds under its tag.

No I/O, no clock, no thread.
"""

from __future__ import annotations

from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.dtypes import element
from boardd_protos.frame import FrameKind, decode, encode

from boardd_client.session.captures import Capture

#: Of the widest type, float64.
_MAX_ELEMENT_BYTES: Final = 8


def plain_scalar(frame: bytes, capture: Capture) -> bytes | None:
    """The frame of a scalar with the value of ``capture``, whose frame is given.

    None if that is no scalar that is a tensor.
    """
    if len(capture.slots) != 1 or len(capture.slots[0].view) > _MAX_ELEMENT_BYTES:
        return None
    (record,) = decode(frame)
    if record.kind != FrameKind.SUMMARY:
        return None
    payload = pb.Payload.FromString(record.payload)
    if not payload.tensor.is_scalar:
        return None
    value = element(capture.slots[0].view, payload.tensors[0].dtype)
    return encode(record._replace(kind=FrameKind.SCALAR, value=value, payload=b""))
