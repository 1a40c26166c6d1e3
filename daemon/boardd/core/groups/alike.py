"""Contributions of many ranks to points of one step, taken together.

Ranks that step together log the same tags at the same step. What is decided of each of their
contributions is then the same, so it is decided once, by the column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from boardd.core.groups.attempts import Attempts
from boardd.core.groups.contributions import Contributions
from boardd.core.groups.entries import Scalars, Summary
from boardd.core.groups.positions import Positions


@dataclass(frozen=True, eq=False)
class Alike:
    """Contributions at ``step``, no two of one rank to one tag.

    ``ranks`` and ``tags``, each intp[n], are those of all contributions.
    """

    step: int
    ranks: NDArray[np.intp]
    tags: NDArray[np.intp]
    scalars: Contributions | None
    summaries: Sequence[tuple[int, Summary]]


def alike(
    entries: Sequence[Scalars | Summary], attempts: Attempts, positions: Positions
) -> Alike | None:
    """Returns ``entries`` together; None if they are not all alike.

    That is so if all ranks are plain members: of the present attempt, known by what they
    logged, and without a series that the group keeps.
    """
    first = entries[0]
    step = int(first.step[0]) if isinstance(first, Scalars) else first.step
    scalars: list[Scalars] = []
    scalar_ranks: list[int] = []
    summaries: list[tuple[int, Summary]] = []
    for entry in entries:
        member = attempts.get(entry.session)
        if member is None or member.is_old or member.is_back or member.joined.per_rank != "none":
            return None
        rank = member.joined.rank
        if rank not in positions:
            return None
        if isinstance(entry, Summary):
            if entry.step != step:
                return None
            summaries.append((rank, entry))
        elif len(entry.tag) and bool((entry.step == step).all()):
            scalars.append(entry)
            scalar_ranks.append(rank)
        else:
            return None
    own = {(rank, summary.tag) for rank, summary in summaries}
    if len(own) < len(summaries) or len(set(scalar_ranks)) < len(scalars):
        return None
    columns = None
    ranks, tags = [rank for rank, _ in summaries], [summary.tag for _, summary in summaries]
    if not scalars:
        return Alike(step, np.array(ranks, np.intp), np.array(tags, np.intp), None, summaries)
    tag = scalars[0].tag
    is_rising = bool((tag[1:] > tag[:-1]).all())
    if not is_rising or any(not _is_same(other.tag, tag) for other in scalars):
        return None
    columns = Contributions(
        np.tile(tag, len(scalars)),
        np.repeat(np.array(scalar_ranks, np.intp), len(tag)),
        np.concatenate([one.value for one in scalars]),
        np.concatenate([one.wall_time for one in scalars]),
    )
    return Alike(
        step,
        np.concatenate([columns.rank, np.array(ranks, np.intp)]),
        np.concatenate([columns.point, np.array(tags, np.intp)]),
        columns,
        summaries,
    )


def _is_same(one: NDArray[np.intp], other: NDArray[np.intp]) -> bool:
    return one is other or (len(one) == len(other) and bool((one == other).all()))
