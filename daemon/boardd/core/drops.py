"""What clients dropped themselves: taken from their reports, told in the logdir.

A report is cumulative by run and reason, so that one which comes twice changes
nothing. What a run has lost by now, all its sessions together, becomes scalars
in its directory: ``boardd/dropped``, and one for each reason beneath it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from boardd_protos import boardd_pb2 as pb

from boardd.core.names import NameRefusedError, clean_tag

#: Reasons that a client may name.
MAX_DROP_REASONS: Final = 32
#: Characters of a reason.
MAX_REASON: Final = 256
#: The tag of all drops of a run; those of a reason have it as a prefix.
DROPPED: Final = "boardd/dropped"

#: Records and bytes.
Amount = tuple[int, int]


@dataclass
class Growth:
    """What one report adds to a run: records by reason, and the highest step among them."""

    records: dict[str, int] = field(default_factory=dict)
    step: int = 0


class ClientDrops:
    """The drops that one client reported, by run and reason."""

    def __init__(self, max_runs: int) -> None:
        self._max_amounts = (max_runs + 1) * MAX_DROP_REASONS
        self._amounts: dict[tuple[int, str], Amount] = {}

    def take(self, report: pb.ClientReport, totals: dict[str, Amount]) -> dict[int, Growth]:
        """Takes a report, adds what is new in it to ``totals``, and returns it by run.

        Reasons past ``MAX_DROP_REASONS`` are passed over.
        """
        grown: dict[int, Growth] = {}
        for count in report.dropped:
            reason = count.reason[:MAX_REASON]
            key = (count.run, reason)
            known = self._amounts.get(key)
            if known is None and len(self._amounts) >= self._max_amounts:
                continue
            if reason not in totals and len(totals) >= MAX_DROP_REASONS:
                continue
            before = known or (0, 0)
            amount = max(before[0], count.records), max(before[1], count.size_bytes)
            self._amounts[key] = amount
            total = totals.get(reason, (0, 0))
            records = amount[0] - before[0]
            totals[reason] = total[0] + records, total[1] + amount[1] - before[1]
            if records:
                growth = grown.setdefault(count.run, Growth(step=count.step))
                growth.records[reason] = growth.records.get(reason, 0) + records
                growth.step = max(growth.step, count.step)
        return grown


def drop_tags(records: dict[str, int]) -> dict[str, int]:
    """The tags that tell of drops, and the value of each; ``records`` are those of each reason."""
    tags = {DROPPED: sum(records.values())}
    for reason, count in records.items():
        try:
            tag = clean_tag(f"{DROPPED}/{reason}")
        except NameRefusedError:
            continue  # too long; it is in the sum
        if tag != DROPPED:
            tags[tag] = tags.get(tag, 0) + count
    return tags
