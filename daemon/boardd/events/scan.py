"""Many events at once: scalars as columns, all others as they are, whoever wrote them."""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

#: Records of one scan.
MAX_RECORDS_AT_ONCE: Final = 1 << 14


class ScanEnd(Enum):
    """Why a scan ended where it did."""

    CUT = 0  #: the next record is not whole in the bytes; more of them may have it whole
    DAMAGED = 1  #: the next record's checksums do not agree
    FULL = 2  #: ``MAX_RECORDS_AT_ONCE`` were found


class Scan(NamedTuple):
    """The records at the beginning of some bytes.

    ``record``, int64[n], are the numbers of those that hold one plain scalar, ascending;
    beside them their ``wall_time`` (float64[n], seconds since the epoch), ``step``
    (int64[n]), ``value`` (float64[n], exact if the file has it so) and ``tag``, intp[n],
    which points into ``tags``. ``others`` has the numbers of all other records, with the
    serialized event of each.
    """

    records: int
    size_bytes: int
    end: ScanEnd
    record: npt.NDArray[np.int64]
    wall_time: npt.NDArray[np.float64]
    step: npt.NDArray[np.int64]
    value: npt.NDArray[np.float64]
    tag: npt.NDArray[np.intp]
    tags: list[bytes]
    others: list[tuple[int, bytes]]


def scan(data: bytes) -> Scan:
    """Reads the records at the beginning of ``data``. Releases the GIL for most of the work.

    Tags are told apart by 64-bit hashes. A record with a tensor or several values, and a
    scalar with metadata, is among the others.
    """
    from boardd.events import scan_kernel as kernel

    rows = np.empty((min(MAX_RECORDS_AT_ONCE, len(data) // 16 + 1), kernel.COLUMNS), np.uint64)
    told = np.zeros(3, np.uint64)
    kernel.scan(np.frombuffer(bytearray(data), np.uint8), rows, told)
    count, size_bytes, reason = told.tolist()
    rows = rows[:count]
    is_scalar = rows[:, kernel.TAG_HASH] != kernel.NOT_SCALAR
    record = np.flatnonzero(is_scalar)
    scalars = rows[record]
    _, first, tag = np.unique(scalars[:, kernel.TAG_HASH], return_index=True, return_inverse=True)
    spans = scalars[first][:, [kernel.TAG_START, kernel.TAG_END]].tolist()
    other = np.flatnonzero(~is_scalar)
    places = rows[other][:, [kernel.START, kernel.END]].tolist()
    return Scan(
        records=count,
        size_bytes=size_bytes,
        end=ScanEnd(reason),
        record=record,
        wall_time=scalars[:, kernel.WALL_TIME].copy().view(np.float64),
        step=scalars[:, kernel.STEP].copy().view(np.int64),
        value=np.where(
            scalars[:, kernel.IS_EXACT] != 0,
            scalars[:, kernel.VALUE].copy().view(np.float64),
            scalars[:, kernel.VALUE].astype(np.uint32).view(np.float32),
        ),
        tag=tag.reshape(-1),
        tags=[data[start:stop] for start, stop in spans],
        others=[
            (number, data[start:stop])
            for number, (start, stop) in zip(other.tolist(), places, strict=True)
        ],
    )
