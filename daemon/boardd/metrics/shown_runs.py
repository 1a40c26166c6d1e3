"""Which runs have metrics of their own, so that no number of them floods who stores these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from boardd_protos import boardd_pb2 as pb

#: Runs that have a label of their own.
MAX_LABELLED_RUNS: Final = 100
#: The label of all others; no run's path begins so, since paths are absolute.
OTHERS: Final = "(others)"


class ShownRuns:
    """The runs with a label of their own: those that were there first, while they are open."""

    def __init__(self, max_runs: int = MAX_LABELLED_RUNS) -> None:
        self._max_runs = max_runs
        self._shown: dict[str, None] = {}

    def labelled(self, runs: Sequence[pb.RunStatus]) -> list[tuple[str, pb.RunStatus]]:
        """Returns each run with its label: its path, or ``OTHERS``."""
        paths = [run.path for run in runs]
        open_paths = set(paths)
        self._shown = {path: None for path in self._shown if path in open_paths}
        for path in paths:
            if len(self._shown) == self._max_runs:
                break
            self._shown.setdefault(path)
        return [(run.path if run.path in self._shown else OTHERS, run) for run in runs]
