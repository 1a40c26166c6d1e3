"""How the scalars of a run are merged over its ranks: the first way that a tag is given counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

#: Tags that are remembered, at most: a program may make new ones without end.
_MAX_TAGS: Final = 100_000


class Reductions:
    """The reductions of one writer's tags, by sub-run and tag. Any thread may call.

    A tag without one of its own has ``default``. ``warn`` is called with a key and a text,
    and warns once for each key.
    """

    def __init__(
        self,
        default: str,
        warn: Callable[[str, str], None],
        chosen: Mapping[tuple[str, str], str] | None = None,
    ) -> None:
        self._default = default
        self._warn = warn
        self._chosen: Final[dict[tuple[str, str], str]] = dict(chosen or {})

    @property
    def chosen(self) -> dict[tuple[str, str], str]:
        """Those of the tags that were logged, a copy."""
        return dict(self._chosen)

    def choose(self, sub_run: str, tag: str, reduce: str) -> None:
        """Gives a tag ``reduce``; warns if it was logged with another."""
        first = self._first(sub_run, tag, reduce)
        if first != reduce:
            self._warn(
                f"reduce {sub_run} {tag}",
                f"tag {tag!r} was logged with reduce={first!r} before; that stays, "
                f"and reduce={reduce!r} is ignored",
            )

    def settle(self, sub_run: str, tag: str) -> str:
        """The reduction of a tag that is about to be defined; empty for the default.

        From then on it stays.
        """
        first = self._first(sub_run, tag, self._default)
        return "" if first == self._default else first

    def _first(self, sub_run: str, tag: str, reduce: str) -> str:
        if len(self._chosen) >= _MAX_TAGS:
            return self._chosen.get((sub_run, tag), reduce)
        return self._chosen.setdefault((sub_run, tag), reduce)
