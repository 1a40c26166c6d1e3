"""From frames of scalars to the scalars to be written and those that are rejected."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from boardd_protos import boardd_pb2 as pb
from numpy.typing import NDArray

from boardd.core.intake.columns import Columns
from boardd.core.intake.frames import Headers, ScalarFrames
from boardd.core.runs.schema import Schema
from boardd.core.session.rejections import Rejection


@dataclass
class Resolved:
    """n scalars with their place in the schema and their tag, intp[n]; and what is rejected."""

    columns: Columns
    place: NDArray[np.intp]
    tag: NDArray[np.intp]
    rejections: list[Rejection] = field(default_factory=list)

    def by_run(
        self, first_places: NDArray[np.intp]
    ) -> Iterator[tuple[list[int], Columns, NDArray[np.intp]]]:
        """Yields the places of each run that occurs, its scalars and their tags, in call order.

        ``first_places`` leads from each place to the first one of the same run: writers of
        a client may share a run, and their calls keep the order among each other.
        """
        if not len(self.place):
            return
        lowest, highest = int(self.place.min()), int(self.place.max())
        if lowest == highest:
            yield [lowest], self.columns, self.tag
            return
        run = first_places[self.place]
        if highest <= np.iinfo(np.uint16).max:
            run = run.astype(np.uint16)  # NumPy sorts these in one pass, not in many
        order = np.argsort(run, kind="stable")
        run, place = run[order], self.place[order]
        columns, tag = self.columns[order], self.tag[order]
        begins = [0, *(np.flatnonzero(run[1:] != run[:-1]) + 1).tolist(), len(run)]
        for begin, end in itertools.pairwise(begins):
            places = [int(run[begin])]
            if (place[begin:end] != places[0]).any():
                places = np.unique(place[begin:end]).tolist()
            yield places, columns[begin:end], tag[begin:end]


def resolve(frames: ScalarFrames, schema: Schema) -> Resolved:
    """Looks up the series of all scalars of ``frames``, and checks them."""
    rejections: list[Rejection] = []
    headers = _only_sound(frames.headers, schema, rejections)
    place, tag, reason = schema.find(headers["target"])
    if reason.any():
        for code in np.unique(reason[reason != 0]).tolist():
            bad = headers[reason == code]
            why = schema.why(int(bad["target"][0]))
            rejections += _rejections(bad, code, why, schema)
        good = reason == 0
        headers, place, tag = headers[good], place[good], tag[good]
    return Resolved(Columns.of(headers), place, tag, rejections)


def rejection(columns: Columns, reason: int, message: str, runs: tuple[int, ...]) -> Rejection:
    """The rejection of all of ``columns``, which are not empty, all meant for ``runs``."""
    first, last = int(columns.sequence[0]), int(columns.sequence[-1])
    return Rejection(first, len(columns), reason, message, last, runs)


def _rejections(bad: Headers, reason: int, message: str, schema: Schema) -> Iterator[Rejection]:
    """The rejections of all of ``bad``, one for each run."""
    numbers = schema.runs_of(bad["target"])
    for number in np.unique(numbers).tolist():
        runs = (number,) if number else ()
        yield rejection(Columns.of(bad[numbers == number]), reason, message, runs)


def _only_sound(headers: Headers, schema: Schema, rejections: list[Rejection]) -> Headers:
    sound = np.isfinite(headers["wall_time"]) & (headers["flags"] == 0) & (headers["reserved"] == 0)
    if sound.all():
        return headers
    bad = headers[~sound]
    message = (
        f"wall_time {bad[0]['wall_time']}, flags {bad[0]['flags']:#x}: not allowed in a scalar"
    )
    rejections += _rejections(bad, pb.INVALID_RECORD, message, schema)
    good: Headers = headers[sound]
    return good
