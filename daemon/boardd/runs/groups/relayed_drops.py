"""How many records other hosts and their clients have lost, each counted once."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from boardd.core.groups.entries import Dropped
from boardd.core.session.drop_reasons import add_records

#: Sources that are told apart; those that told something last.
MAX_SOURCES: Final = 1024


class RelayedDrops:
    """What each source has told, whose counts never fall and may come again."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, dict[str, int]] = OrderedDict()

    def count(self, dropped: Dropped, totals: dict[str, int]) -> None:
        """Adds to ``totals``, by reason, what is new in ``dropped``."""
        known = self._known.pop(dropped.source, {})
        for reason, records in dropped.records.items():
            before = known.get(reason, 0)
            if records > before:
                add_records(totals, reason, records - before)
                known[reason] = records
        self._known[dropped.source] = known
        if len(self._known) > MAX_SOURCES:
            self._known.popitem(last=False)
