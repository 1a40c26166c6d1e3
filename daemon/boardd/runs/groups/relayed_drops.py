"""How many records other hosts and their clients have lost, each counted once."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from typing import Final

from boardd.core.groups.entries import Dropped
from boardd.core.runs.drop_reasons import add_records, raise_to

#: Sources that are told apart; those that told something last.
MAX_SOURCES: Final = 1024


class RelayedDrops:
    """What each source has told, whose counts never fall and may come again."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, dict[str, int]] = OrderedDict()

    def count(self, dropped: Dropped, totals: dict[str, int]) -> Dropped:
        """Adds to ``totals``, by reason, what is new in ``dropped``.

        Returns ``dropped`` with all that its source has told by now. Reasons of one source past
        a budget are passed over.
        """
        before = self._known.pop(dropped.source, {})
        known = dict(before)
        raise_to(known, dropped.records)
        for reason, records in known.items():
            if records > before.get(reason, 0):
                add_records(totals, reason, records - before.get(reason, 0))
        self._known[dropped.source] = known
        if len(self._known) > MAX_SOURCES:
            self._known.popitem(last=False)
        return replace(dropped, records=known)
