"""The names of tags back to back, as the compiled loop of ``scalars`` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

_FIRST_TAGS: Final = 16
_FIRST_BYTES: Final = 512

_Item = TypeVar("_Item", bound=np.generic)


class Chosen(NamedTuple):
    """n names by index, uint64[n], and how long they are together."""

    indices: npt.NDArray[np.uint64]
    size_bytes: int


class TagNames:
    """Names of the first tags of a list that only grows; for one thread at a time."""

    def __init__(self) -> None:
        self._count = 0
        self._used_bytes = 0
        self._text = np.empty(_FIRST_BYTES, np.uint8)
        self._begins = np.empty(_FIRST_TAGS, np.uint64)
        self._lengths = np.empty(_FIRST_TAGS, np.uint64)
        #: The last argument of ``chosen`` that never changes, and what it returned.
        self._last: tuple[npt.NDArray[np.intp], Chosen] | None = None

    def extend(self, tags: Sequence[bytes]) -> None:
        """Takes those of ``tags`` that are new. The others are those that it has, and stay.

        Raises ``ValueError`` for a tag that is not UTF-8, and then takes none.
        """
        new = tags[self._count :]
        if not new:
            return
        for tag in new:
            if not tag.isascii():
                tag.decode("utf-8")  # UnicodeDecodeError is a ValueError
        text = b"".join(new)
        lengths = np.fromiter(map(len, new), np.uint64, len(new))
        count, used_bytes = self._count + len(new), self._used_bytes + len(text)
        self._text = _grown(self._text, used_bytes)
        self._begins = _grown(self._begins, count)
        self._lengths = _grown(self._lengths, count)
        self._text[self._used_bytes : used_bytes] = np.frombuffer(text, np.uint8)
        self._lengths[self._count : count] = lengths
        begins = np.cumsum(lengths) - lengths + np.uint64(self._used_bytes)
        self._begins[self._count : count] = begins
        self._count, self._used_bytes = count, used_bytes

    def chosen(self, tag_index: npt.NDArray[np.intp]) -> Chosen:
        """Returns which names ``tag_index``, intp[n], says. Faster if it is read-only and the last.

        Raises ``ValueError`` for an index that is out of range.
        """
        if self._last is not None and self._last[0] is tag_index:
            return self._last[1]
        lowest, highest = int(tag_index.min()), int(tag_index.max())
        if lowest < 0 or highest >= self._count:
            raise ValueError(f"tag_index from {lowest} to {highest}, there are {self._count} tags")
        indices = tag_index.astype(np.uint64)
        chosen = Chosen(indices, int(self._lengths[tag_index].sum()))
        if not tag_index.flags.writeable:
            self._last = tag_index, chosen
        return chosen

    @property
    def text(self) -> npt.NDArray[np.uint8]:
        """All names, uint8[n]."""
        return self._text[: self._used_bytes]

    @property
    def begins(self) -> npt.NDArray[np.uint64]:
        """Where each name begins, uint64[tags]."""
        return self._begins[: self._count]

    @property
    def lengths(self) -> npt.NDArray[np.uint64]:
        """The bytes of each name, uint64[tags]."""
        return self._lengths[: self._count]


def _grown(array: npt.NDArray[_Item], length: int) -> npt.NDArray[_Item]:
    """Returns ``array`` with room for ``length`` elements."""
    if length <= len(array):
        return array
    grown = np.empty(max(length, 2 * len(array)), array.dtype)
    grown[: len(array)] = array
    return grown
