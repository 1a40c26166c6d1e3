"""The payloads of records: what they are, their options, their tensors' dtype and shape.

Users log the same few shapes over and over, so the serialized bytes are kept.
"""

from __future__ import annotations

from functools import lru_cache

from boardd_protos import boardd_pb2 as pb

from boardd_client.arguments import Bins

#: Distinct payloads that are kept; one with edges may have half a megabyte.
_KEPT = 64


@lru_cache(maxsize=_KEPT)
def histogram(dtype: str, shape: tuple[int, ...], bins: Bins) -> bytes:
    """The payload of a histogram of one tensor."""
    message = pb.Histogram()
    if bins.rule:
        message.rule = bins.rule
    elif bins.edges:
        message.edges.edges.extend(bins.edges)
    else:
        message.count = bins.count
    return _serialized(pb.Payload(tensors=[_tensor(dtype, shape)], histogram=message))


@lru_cache(maxsize=_KEPT)
def image(dtype: str, shape: tuple[int, ...], dataformats: str) -> bytes:
    """The payload of an image, or of a batch that becomes a grid as MXBoard lays it out."""
    message = pb.Image(dataformats=dataformats, nrow=8, padding=2)
    return _serialized(pb.Payload(tensors=[_tensor(dtype, shape)], image=message))


def _tensor(dtype: str, shape: tuple[int, ...]) -> pb.Tensor:
    return pb.Tensor(dtype=dtype, shape=shape)


def _serialized(payload: pb.Payload) -> bytes:
    data: bytes = payload.SerializeToString()
    return data
