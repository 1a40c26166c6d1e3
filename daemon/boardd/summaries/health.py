"""What a record tells of the soundness of its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from boardd_protos import boardd_pb2 as pb
from boardd_protos.invalid import InvalidRecordError
from boardd_protos.limits import MAX_HISTOGRAMS
from boardd_protos.tags import MAX_TAG_BYTES
from numpy.typing import NDArray

from boardd.reduce.health import ArrayHealth as ArrayHealth
from boardd.reduce.health import array_health

#: Arrays of one record, and records of one step.
MAX_NAMES: Final = MAX_HISTOGRAMS
MAX_PARTS: Final = 1 << 16
#: What is left of a tag for ``/norm`` and its like, behind a group.
_SUFFIX_BYTES: Final = 16


@dataclass(frozen=True)
class HealthPart:
    """What record ``part`` of ``parts`` tells, from 0: the health of arrays by group and name.

    ``tag`` begins the tags under which it is shown.
    """

    tag: str
    part: int
    parts: int
    arrays: Sequence[tuple[str, str, ArrayHealth]]


def health_part(message: pb.Health, tensors: Sequence[NDArray[Any]]) -> HealthPart:
    """Returns the health of ``tensors``, as ``message`` names them.

    Raises ``InvalidRecordError`` if it does not fit them.
    """
    if not 0 <= message.part < message.parts <= MAX_PARTS:
        raise InvalidRecordError(f"part {message.part} of {message.parts} of a step's health")
    if len(message.names) > MAX_NAMES:
        raise InvalidRecordError(f"{len(message.names)} names of arrays, at most {MAX_NAMES}")
    sizes = list(message.sizes) or [tensor.size for tensor in tensors]
    if len(sizes) != len(message.names) or sum(sizes) != sum(one.size for one in tensors):
        raise InvalidRecordError(
            f"{len(message.names)} names for {len(sizes)} arrays of {sum(sizes)} elements, and "
            f"tensors of {sum(one.size for one in tensors)}"
        )
    arrays = []
    for full_name, health in zip(message.names, _healths(sizes, tensors), strict=True):
        group, slash, name = full_name.partition("/")
        if not slash or len(f"{message.tag}/{group}".encode()) > MAX_TAG_BYTES - _SUFFIX_BYTES:
            raise InvalidRecordError(f"{full_name!r} is no group and name, or too long")
        arrays.append((group, name, health))
    return HealthPart(message.tag, message.part, message.parts, arrays)


def _healths(sizes: Sequence[int], tensors: Sequence[NDArray[Any]]) -> Iterator[ArrayHealth]:
    """Yields that of each array: the next ``sizes`` elements of the tensors."""
    flat = [np.reshape(tensor, -1) for tensor in tensors]
    tensor, at = 0, 0
    for size in sizes:
        total = ArrayHealth()
        while size:
            taken = flat[tensor][at : at + size]
            total += array_health(taken)
            size -= taken.size
            at += taken.size
            if at >= flat[tensor].size:
                tensor, at = tensor + 1, 0
        yield total
