"""The tags of a group: each has an index, and is one kind."""

from __future__ import annotations

from collections.abc import Iterable

from boardd.core.groups.entries import SCALAR, Tag, Tags


class TagTable:
    """Tags by index and by name."""

    def __init__(self) -> None:
        self.tags: list[Tag] = []
        self._index: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self.tags)

    def index(self, name: bytes) -> int | None:
        """Returns the index of a tag, None if it is not known."""
        return self._index.get(name)

    def is_scalar(self, index: int) -> bool:
        """Returns whether a tag's contributions are single numbers."""
        return self.tags[index].kind == SCALAR

    def conflict(self, tag: Tag) -> str | None:
        """Returns why ``tag`` cannot be of its kind, for people; None if it can."""
        index = self._index.get(tag.name)
        if index is None or self.tags[index].kind == tag.kind:
            return None
        return (
            f"tag {tag.name.decode()!r} is a {self.tags[index].kind} for the ranks of this run and "
            f"cannot be a {tag.kind} too; choose another tag"
        )

    def new(self, tags: Iterable[Tag]) -> Tags | None:
        """Returns the entry that adds those that are not known, None if all are."""
        new = {tag.name: tag for tag in reversed(list(tags)) if tag.name not in self._index}
        return Tags(len(self.tags), tuple(reversed(new.values()))) if new else None

    def add(self, entry: Tags) -> None:
        """Adds the tags of ``entry``."""
        for index, tag in enumerate(entry.tags, entry.first):
            self._index[tag.name] = index
        self.tags[entry.first :] = entry.tags
