"""One tag of a run is one kind of summary.

TensorBoard fails to show a whole run in which a tag is a scalar in one event and a
histogram in another. So the first kind that is written under a tag stays its kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from boardd_protos import boardd_pb2 as pb
from boardd_protos.summary_kind import SummaryKind
from numpy.typing import NDArray

from boardd.core.refusals import RefusedError

#: Most tags of a run that no client defined: those that parts of a summary need.
MAX_DERIVED_TAGS: Final = 100_000

_UNKNOWN, _IS_SCALAR, _IS_OTHER = range(3)


class TagKinds:
    """What kind of summary each tag of one run is; for one thread at a time.

    Call ``take`` and ``take_scalars`` in the order in which the records are written.
    """

    def __init__(self) -> None:
        self._kinds: dict[bytes, SummaryKind] = {}
        #: Those that no event file tells yet.
        self._new: dict[bytes, SummaryKind] = {}
        self._derived_tags = 0
        #: By place in the run's list of tags, what ``_kinds`` says of scalars.
        self._states = np.zeros(16, np.uint8)
        #: The last tags, in an array that never changes, that all were those of scalars.
        self._last_scalars: NDArray[np.intp] | None = None

    def __iter__(self) -> Iterator[tuple[bytes, SummaryKind]]:
        """Yields every tag and its kind."""
        return iter(self._kinds.items())

    def is_known(self, tag: bytes) -> bool:
        """Whether anything was written under ``tag``."""
        return tag in self._kinds

    def restore(self, kinds: Mapping[bytes, SummaryKind]) -> None:
        """Takes what event files hold; the kind of a tag that is known stays."""
        for name, kind in kinds.items():
            self._kinds.setdefault(name, kind)

    def take_new(self) -> dict[bytes, SummaryKind]:
        """Returns the tags that were taken, not restored, since the last call."""
        new, self._new = self._new, {}
        return new

    def take(self, tag: bytes, kinds: Mapping[bytes, SummaryKind]) -> None:
        """Takes a record of ``tag`` that writes under the tags of ``kinds``.

        Raises ``RefusedError``, and takes none of them, if one is another kind
        already (INVALID_NAME), or if they need too many tags besides ``tag``
        (TOO_MANY_SERIES).
        """
        is_new = False
        for name, kind in kinds.items():
            known = self._kinds.get(name)
            if known is None:
                is_new = True
            elif known is not kind:
                raise RefusedError(pb.INVALID_NAME, self.conflict(name, kind))
        if not is_new:
            return
        new = {name: kind for name, kind in kinds.items() if name not in self._kinds}
        derived = [name for name in new if name != tag]
        if self._derived_tags + len(derived) > MAX_DERIVED_TAGS:
            raise RefusedError(
                pb.TOO_MANY_SERIES,
                f"tag {tag.decode()!r} needs {len(derived)} tags more; the run has its "
                f"{MAX_DERIVED_TAGS} tags that were made from others",
            )
        self._derived_tags += len(derived)
        self._kinds.update(new)
        self._new.update(new)

    def take_scalars(
        self, tag_index: NDArray[np.intp], tags: Sequence[bytes]
    ) -> NDArray[np.bool_] | None:
        """Takes n scalars, each with the index of its tag in ``tags``.

        Returns which of them are refused because their tag is another kind, bool[n],
        or None if none is.
        """
        if not len(tag_index) or tag_index is self._last_scalars:
            return None
        self._grow(int(tag_index.max()) + 1)
        states = self._states[tag_index]
        if (states == _IS_SCALAR).all():
            if not tag_index.flags.writeable:
                self._last_scalars = tag_index
            return None
        for index in np.unique(tag_index[states == _UNKNOWN]).tolist():
            kind = self._kinds.get(tags[index])
            if kind is None:
                kind = self._kinds[tags[index]] = self._new[tags[index]] = SummaryKind.SCALAR
            self._states[index] = _IS_SCALAR if kind is SummaryKind.SCALAR else _IS_OTHER
        refused: NDArray[np.bool_] = self._states[tag_index] != _IS_SCALAR
        return refused if refused.any() else None

    def conflict(self, tag: bytes, kind: SummaryKind) -> str:
        """Why ``tag`` cannot be a ``kind``, for people."""
        return (
            f"tag {tag.decode()!r} is a {self._kinds[tag].value} in this run and cannot be a "
            f"{kind.value} too, which TensorBoard does not read; choose another tag"
        )

    def _grow(self, length: int) -> None:
        if length > len(self._states):
            grown = np.zeros(max(length, 2 * len(self._states)), np.uint8)
            grown[: len(self._states)] = self._states
            self._states = grown
