"""Entries of scalars as protobuf serializes them, made by hand: each rank makes one a step.

Source of the encoding: ``boardd.events.wire``. The numbers of fields are those of
``journal.proto``.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from boardd.core.groups.entries import Scalars
from boardd.events.wire import varint

TAG: Final = np.dtype("<u4")
INTEGER: Final = np.dtype("<i8")
REAL: Final = np.dtype("<f8")

#: Of ``Entry.scalars``, and of the columns of ``Scalars``: session, tag, step, wall time, value.
_ENTRY_FIELD: Final = b"\x2a"
_FIELDS: Final = (b"\x0a", b"\x12", b"\x1a", b"\x22", b"\x2a")


def scalars_data(entry: Scalars) -> bytes:
    """Returns the serialized ``Entry``."""
    columns = (
        entry.session,
        column(entry.tag, TAG),
        column(entry.step, INTEGER),
        entry.wall_time.astype(REAL, copy=False).tobytes(),
        entry.value.astype(REAL, copy=False).tobytes(),
    )
    parts: list[bytes] = []
    for field, data in zip(_FIELDS, columns, strict=True):
        if data:
            parts += (field, varint(len(data)), data)
    content = b"".join(parts)
    return b"".join((_ENTRY_FIELD, varint(len(content)), content))


def column(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> bytes:
    """The bytes of a column of integers; of one number if all are the same."""
    if len(values) > 1 and values[0] == values[-1] and bool((values == values[0]).all()):
        values = values[:1]
    return values.astype(dtype, copy=False).tobytes()
