"""The parts of several sessions in one run, put into the order of their steps.

TensorBoard hides points whose tag had a higher step before, so workers that share a
counter of steps must reach the file in its order, though each of them is heard in turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from boardd.core.session.batch import RunPart, ScalarPart, SeriesPart, SummaryPart

#: Most pieces of one interleaving; beyond, parts stay whole, and some steps go backwards.
MAX_PIECES: Final = 4096

_LOWEST: Final = np.iinfo(np.int64).min


def interleave(parts: Sequence[RunPart], due: int) -> tuple[list[RunPart], list[RunPart]]:
    """Returns what is to be written now, in order, and what stays for later.

    ``parts`` are as they came, from any sessions. The first ``due`` of them are to be
    written, and of the others what belongs before those: the smallest step first, the
    earlier time first among equals, each session in its own order. A part of scalars may
    be split for that.
    """
    if len({part.session_id for part in parts}) < 2 or not _share_tags(parts):
        return list(parts[:due]), list(parts[due:])
    rows = _Rows(parts)
    order = rows.order
    part = rows.part[order]
    due_rows = np.flatnonzero(part < due)
    part = part[: due_rows[-1] + 1] if len(due_rows) else part[:0]
    begins = np.flatnonzero(np.append(True, part[1:] != part[:-1])) if len(part) else part
    if len(begins) > MAX_PIECES:
        return _whole(parts, part, due)
    return _pieces(parts, part, begins)


class _Rows:
    """The n records of parts: which part each belongs to, and their order, intp[n].

    A session's records keep their order because each counts as being at the highest step,
    and the latest time, that the session has reached.
    """

    def __init__(self, parts: Sequence[RunPart]) -> None:
        by_session: dict[bytes, list[int]] = {}
        for index, part in enumerate(parts):
            by_session.setdefault(part.session_id, []).append(index)
        columns: list[tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.float64]]] = []
        for indexes in by_session.values():
            found = [_keys(parts[index]) for index in indexes]
            lengths = [len(step) for step, _ in found]
            step = np.maximum.accumulate(np.concatenate([step for step, _ in found]))
            time = np.maximum.accumulate(np.concatenate([time for _, time in found]))
            columns.append((np.repeat(np.array(indexes, np.intp), lengths), step, time))
        self.part = np.concatenate([part for part, _, _ in columns])
        step = np.concatenate([step for _, step, _ in columns])
        time = np.concatenate([time for _, _, time in columns])
        self.order = np.lexsort((time, step))


def _keys(part: RunPart) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The step and the time of each record; a part without any has the lowest."""
    if isinstance(part, ScalarPart):
        return part.columns.step, part.columns.wall_time
    if isinstance(part, SummaryPart):
        return np.array([part.step], np.int64), np.array([part.wall_time])
    return np.array([_LOWEST], np.int64), np.array([-np.inf])


def tags_of(part: RunPart) -> NDArray[np.intp]:
    """The indexes of the tags of a part's records; one may come several times."""
    if isinstance(part, ScalarPart):
        return part.tag_index
    if isinstance(part, SeriesPart):
        return np.array(part.known_tags, np.intp)
    if isinstance(part, SummaryPart):
        return np.array([part.tag], np.intp)
    return np.empty(0, np.intp)


def _share_tags(parts: Sequence[RunPart]) -> bool:
    """Whether a tag is used by more than one session."""
    by_session: dict[bytes, list[NDArray[np.intp]]] = {}
    for part in parts:
        by_session.setdefault(part.session_id, []).append(tags_of(part))
    used = [np.unique(np.concatenate(tags)) for tags in by_session.values()]
    return bool(used) and len(np.unique(np.concatenate(used))) < sum(map(len, used))


def _pieces(
    parts: Sequence[RunPart], part: NDArray[np.intp], begins: NDArray[np.intp]
) -> tuple[list[RunPart], list[RunPart]]:
    """Splits ``parts`` where others come between; ``part`` is that of each record, in order."""
    now: list[RunPart] = []
    lengths = np.diff(np.append(begins, len(part))).tolist()
    done = [False] * len(parts)
    for index, length in zip(part[begins].tolist(), lengths, strict=True):
        whole = parts[index]
        if isinstance(whole, ScalarPart) and length < len(whole.columns):
            now.append(whole.split_front(length))
        else:
            now.append(whole)
            done[index] = True
    return now, [part for part, is_done in zip(parts, done, strict=True) if not is_done]


def _whole(
    parts: Sequence[RunPart], part: NDArray[np.intp], due: int
) -> tuple[list[RunPart], list[RunPart]]:
    """As ``_pieces``, but splits none: parts that are due, by their first record."""
    due_part = part[part < due]
    indexes, first = np.unique(due_part, return_index=True)
    now = [parts[index] for index in indexes[np.argsort(first, kind="stable")].tolist()]
    return now, list(parts[due:])
