"""From a stretch of frames to the scalars to be written and those that are rejected."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from boardd_protos import boardd_pb2 as pb
from numpy.typing import NDArray

from boardd.core.intake.columns import Columns, expand
from boardd.core.intake.frames import ScalarFrames
from boardd.core.runs.schema import Schema
from boardd.core.session.rejections import Rejection


@dataclass
class Resolved:
    """n scalars with their place in the schema and their tag, intp[n]; and what is rejected."""

    columns: Columns
    place: NDArray[np.intp]
    tag: NDArray[np.intp]
    rejections: list[Rejection] = field(default_factory=list)

    def by_place(self) -> Iterator[tuple[int, Columns, NDArray[np.intp]]]:
        """Yields each place that occurs with its scalars and their tags, in call order."""
        if not len(self.place):
            return
        lowest, highest = int(self.place.min()), int(self.place.max())
        if lowest == highest:
            yield lowest, self.columns, self.tag
            return
        place = self.place
        if highest <= np.iinfo(np.uint16).max:
            place = place.astype(np.uint16)  # NumPy sorts these in one pass, not in many
        order = np.argsort(place, kind="stable")
        place, columns, tag = place[order], self.columns[order], self.tag[order]
        begins = [0, *(np.flatnonzero(place[1:] != place[:-1]) + 1).tolist(), len(place)]
        for begin, end in itertools.pairwise(begins):
            yield int(place[begin]), columns[begin:end], tag[begin:end]


def resolve(stretch: ScalarFrames, schema: Schema) -> Resolved:
    """Looks up the series of all scalars of ``stretch``, and checks them."""
    rejections: list[Rejection] = []
    stretch = _only_sound(stretch, rejections)
    if stretch.first_word is not None:
        stretch = _only_matching(stretch, schema, rejections)
    records_each = stretch.records_each()
    place, tag, reason = _find(stretch, records_each, schema)
    resolved = Resolved(expand(stretch, records_each), place, tag, rejections)
    if reason.any():
        _reject_series(resolved, reason, stretch, records_each, schema)
    return resolved


def rejection(columns: Columns, reason: int, message: str) -> Rejection:
    """The rejection of all of ``columns``, which are not empty."""
    first, last = int(columns.sequence[0]), int(columns.sequence[-1])
    return Rejection(first, len(columns), reason, message, last)


def _only_sound(stretch: ScalarFrames, rejections: list[Rejection]) -> ScalarFrames:
    headers = stretch.headers
    sound = np.isfinite(headers["wall_time"]) & (headers["flags"] == 0) & (headers["reserved"] == 0)
    if sound.all():
        return stretch
    bad = stretch[~sound]
    header = bad.headers[0]
    message = (
        f"wall_time {header['wall_time']}, flags {header['flags']:#x}: not allowed in a scalar"
    )
    rejections.append(_of_frames(bad, pb.INVALID_RECORD, message))
    return stretch[sound]


def _only_matching(
    stretch: ScalarFrames, schema: Schema, rejections: list[Rejection]
) -> ScalarFrames:
    """Leaves out frames whose set is refused or has another number of series."""
    many = stretch.holds_many
    used, which = np.unique(stretch.headers["target"][many], return_inverse=True)
    refusals = [schema.set_refusal(number) for number in used.tolist()]
    lengths = np.array([schema.sets.length(number) for number in used.tolist()], np.int64)
    which = which.reshape(-1)
    reasons = np.array([refusal.reason if refusal else 0 for refusal in refusals], np.intp)
    reason = np.zeros(len(stretch), np.intp)
    is_wrong = stretch.headers["payload_bytes"][many] != 8 * lengths[which]
    reason[many] = np.where(
        reasons[which] != 0, reasons[which], np.where(is_wrong, pb.INVALID_RECORD, 0)
    )
    if not reason.any():
        return stretch
    for code in np.unique(reason[reason != 0]).tolist():
        bad = stretch[reason == code]
        number, found = bad.headers["target"][0], bad.headers["payload_bytes"][0]
        refusal = schema.set_refusal(int(number))
        message = (
            refusal.message
            if refusal is not None
            else f"{found} bytes of values; set {number} has {schema.sets.length(int(number))} "
            "series of 8 bytes each"
        )
        rejections.append(_of_frames(bad, code, message))
    return stretch[reason == 0]


def _of_frames(stretch: ScalarFrames, reason: int, message: str) -> Rejection:
    return Rejection(
        stretch.first_sequence, stretch.records(), reason, message, stretch.last_sequence
    )


def _find(
    stretch: ScalarFrames, records_each: NDArray[np.int64], schema: Schema
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """The place, the tag and the refusal of every scalar."""
    numbers = stretch.headers["target"]
    if stretch.first_word is None:
        return schema.find(numbers)
    many = stretch.holds_many
    of_sets = schema.sets.members(numbers[many], records_each[many])
    if many.all():
        return of_sets
    of_singles = schema.find(numbers[~many])
    in_set = np.repeat(many, records_each)
    found = np.empty((3, len(in_set)), np.intp)
    for column, members, singles in zip(found, of_sets, of_singles, strict=True):
        column[in_set] = members
        column[~in_set] = singles
    return found[0], found[1], found[2]


def _reject_series(
    resolved: Resolved,
    reason: NDArray[np.intp],
    stretch: ScalarFrames,
    records_each: NDArray[np.int64],
    schema: Schema,
) -> None:
    """Takes the scalars of refused series out of ``resolved``."""
    columns = resolved.columns
    for code in np.unique(reason[reason != 0]).tolist():
        bad = reason == code
        row = int(bad.argmax())
        ends = np.cumsum(records_each)
        frame = int(np.searchsorted(ends, row, side="right"))
        number = int(stretch.headers["target"][frame])
        if stretch.holds_many[frame]:
            index = row - int(ends[frame] - records_each[frame])
            number = schema.sets.series(number, index)
        resolved.rejections.append(rejection(columns[bad], code, schema.why(number)))
    good = reason == 0
    resolved.columns = columns[good]
    resolved.place, resolved.tag = resolved.place[good], resolved.tag[good]
