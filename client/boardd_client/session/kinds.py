"""One tag of a run is one kind of summary: the daemon rejects a second kind.

TensorBoard cannot show a run that has two kinds under a tag. What this process logged
itself is known here, so that its mistake is told where it is made.
"""

from __future__ import annotations

from collections.abc import Iterable

from boardd_protos.summary_kind import SummaryKind


class RunKinds:
    """The kinds of the tags of one run directory and its sub-runs. Any thread may call."""

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, str], SummaryKind] = {}

    def check(self, sub_run: str, names: Iterable[str], kind: SummaryKind) -> None:
        """Raises ``ValueError`` if one of the tags ``names``, as shown, is another kind already."""
        for name in names:
            known = self._kinds.get((sub_run, name))
            if known is not None and known is not kind:
                raise ValueError(
                    f"tag {name!r} is a {known.value} in this run and cannot be a {kind.value} "
                    "too, which TensorBoard does not read; choose another tag"
                )

    def add(self, sub_run: str, names: Iterable[str], kind: SummaryKind) -> None:
        """Notes what was logged under the tags ``names``, as they are shown."""
        for name in names:
            self._kinds.setdefault((sub_run, name), kind)
