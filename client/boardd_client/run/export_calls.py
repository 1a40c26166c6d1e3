"""MXBoard's export of the scalars that a writer has logged."""

from __future__ import annotations

import json
import logging
import os
import time
from abc import ABC, abstractmethod
from typing import Final

from boardd_client.run.run_handle import RunHandle
from boardd_client.session.scalar_history import Exported

_logger = logging.getLogger("boardd_client")

#: The longest wait for values that are still computing.
_EXPORT_SECS: Final = 30.0


class ExportCalls(ABC):
    """Scalars of a writer that are kept in memory, for MXBoard's export to JSON."""

    _past: list[RunHandle]

    @abstractmethod
    def _all_runs(self) -> list[RunHandle]:
        """The runs that this writer has begun, the latest last."""

    def export_scalars(self, path: str | os.PathLike[str]) -> None:
        """Writes all scalars that this writer has logged to a JSON file, as MXBoard does.

        The format is ``{name: [[timestamp, step, value], ...], ...}``, with the names
        ``logdir/tag`` and, for named values, ``logdir/tag/name``. Steps are as they were
        given, with their fractions, and ``null`` for None. Waits for values
        that are still computing, 30 s at most. At most
        ``BOARDD_SCALAR_HISTORY_BYTES`` (64 MiB, 28 bytes a scalar) are kept.

        Args:
            path: the file, which is overwritten if it exists.

        Raises:
            OSError: the file cannot be written.
        """
        if os.path.isfile(path):
            _logger.warning("boardd: %s exists and is overwritten", os.fspath(path))
        exported: Exported = {}
        for run in self._all_runs():
            run.sender.wait_committed(time.monotonic() + _EXPORT_SECS)
            scalars, lost = run.sender.session.export_scalars(run.series.names, run.given_steps.of)
            if lost:
                _logger.warning(
                    "boardd: %s lacks the oldest scalars of this process, %d in number; raise "
                    "BOARDD_SCALAR_HISTORY_BYTES to keep more",
                    os.fspath(path),
                    lost,
                )
            for name, rows in scalars.items():
                exported.setdefault(name, []).extend(rows)
        with open(path, "w", encoding="ascii") as file:
            json.dump(exported, file)

    def clear_scalar_dict(self) -> None:
        """Forgets the scalars that ``export_scalars`` would write."""
        for run in self._all_runs():
            run.sender.session.clear_scalars(run.series.names)
            run.given_steps.clear()
        self._past = self._past[-1:]
