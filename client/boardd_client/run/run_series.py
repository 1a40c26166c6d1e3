"""The series of one run: the numbers of its tags."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from boardd_protos import tags
from boardd_protos.summary_kind import SummaryKind

from boardd_client.calls import arguments
from boardd_client.calls.reductions import Reductions
from boardd_client.session.schema import DefinedRun
from boardd_client.session.session import Session


class RunSeries:
    """The series of one run: the numbers of its tags, and their names in exports.

    ``path`` names the run there. ``reductions`` says how scalars are merged over ranks;
    None: all as the run's definition says. ``warn`` is called with a key and a text. Any thread
    may call.
    """

    def __init__(
        self,
        session: Session,
        run: DefinedRun,
        path: str,
        reductions: Reductions | None = None,
        warn: Callable[[str, str], None] | None = None,
    ) -> None:
        self.by_tag: Final[dict[str, int]] = run.by_tag
        self.by_curve: Final[dict[tuple[str, str], int]] = {}  #: by tag and name
        self.names: Final[dict[int, str]] = {}
        self._session = session
        self._run = run
        self._path = path
        self._reductions = reductions
        self._warn = warn
        self._spelt: dict[tuple[str, str], str] = {}  # by sub-run and what becomes of the tag
        self._lock = threading.RLock()  # a signal handler may log, too
        self._defined: dict[tuple[str, str], int] = {}  # by sub-run and tag
        self._summaries: dict[tuple[str, str, SummaryKind | None, tuple[str, ...]], int] = {}

    def of(self, tag: str, name: str = "") -> int:
        """The series of a tag, or of curve ``name`` in its plot; 0 if there are too many.

        Raises ``ValueError`` if the tag is no scalar.
        """
        known = self.by_curve.get((tag, name)) if name else self.by_tag.get(tag)
        if known is not None:
            return known
        if not name:
            series = self.in_sub_run("", tag)
            if series and not self._run.is_held_up:
                self.by_tag[tag] = series
            return series
        series = self.in_sub_run(arguments.sub_run(tag, name), tag, f"{tag}/{name}")
        if series:
            self.by_curve[tag, name] = series
        return series

    def in_sub_run(self, sub_run: str, tag: str, name: str = "") -> int:
        """The series of a scalar in a sub-run; 0 if there are too many.

        Exports call it ``name``, or by sub-run and tag.

        Raises ``ValueError`` if the tag is no scalar.
        """
        return self._define(sub_run, tag, SummaryKind.SCALAR, (tag,), name)

    def of_summary(
        self, tag: str, kind: SummaryKind | None, names: tuple[str, ...] = (), *, sub_run: str = ""
    ) -> int:
        """The series of a tag with records of ``kind``; 0 if there are too many.

        They are shown under the tags ``names``, under ``tag`` if there are none.

        Raises ``ValueError`` if one of those is another kind.
        """
        key = (sub_run, tag, kind, names)
        series = self._summaries.get(key, 0)
        if not series:
            series = self._define(sub_run, tag, kind, names or (tag,))
            if series:
                self._summaries[key] = series
        return series

    def _define(
        self,
        sub_run: str,
        tag: str,
        kind: SummaryKind | None,
        names: tuple[str, ...],
        name: str = "",
    ) -> int:
        if not self._run.definition.tags_as_given:
            names = tuple(map(tags.clean, names))
        with self._lock:
            if kind is not None:
                self._run.kinds.check(sub_run, names, kind)
            series = self._defined.get((sub_run, tag), 0)
            if not series:
                reduce = ""
                if kind == SummaryKind.SCALAR and self._reductions is not None:
                    reduce = self._reductions.settle(sub_run, tag)
                series = self._session.define_series(self._run, tag, sub_run, reduce)
                if not series:
                    return 0
                self._defined[sub_run, tag] = series
                parts = (self._path, name) if name else (self._path, sub_run, tag)
                self.names[series] = "/".join(filter(None, parts))
            if kind is not None:
                self._run.kinds.add(sub_run, names, kind)
            self._check_spelling(sub_run, names[0], tag)
            return series

    def _check_spelling(self, sub_run: str, shown: str, tag: str) -> None:
        """Warns if another tag became the same one."""
        first = self._spelt.setdefault((sub_run, shown), tag)
        if first != tag and self._warn is not None:
            self._warn(
                f"spelling {sub_run}/{shown}",
                f"{self._path}: {first!r} and {tag!r} are both written as {shown!r}, and so are "
                "one series; use other tags, or keep_tags=True",
            )
