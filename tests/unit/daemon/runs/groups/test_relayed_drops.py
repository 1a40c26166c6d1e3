"""What other hosts tell of losses."""

from __future__ import annotations

from boardd.core.groups.entries import Dropped
from boardd.core.runs.drop_reasons import MAX_DROP_REASONS, OTHER
from boardd.runs.groups.relayed_drops import RelayedDrops

SOURCE, ANOTHER = b"s" * 16, b"a" * 16


def told(source: bytes, **records: int) -> Dropped:
    return Dropped(source, records, 1, 1.0)


def test_what_comes_again_counts_once_and_each_source_by_itself() -> None:
    drops, totals = RelayedDrops(), {}
    drops.count(told(SOURCE, full=3), totals)
    assert drops.count(told(SOURCE, full=2, late=1), totals).records == {"full": 3, "late": 1}
    drops.count(told(ANOTHER, full=4), totals)
    assert totals == {"full": 7, "late": 1}


def test_a_source_that_makes_up_reasons_takes_bounded_memory_and_no_other_is_less_counted() -> None:
    drops, totals = RelayedDrops(), {}
    for number in range(1000):
        shown = drops.count(told(SOURCE, **{f"reason {number}": 1}), totals)
        assert len(shown.records) <= MAX_DROP_REASONS + 1
    assert sum(totals.values()) == MAX_DROP_REASONS + 1
    drops.count(told(ANOTHER, full=4), totals)
    assert totals[OTHER] == 1 + 4
    assert len(totals) == MAX_DROP_REASONS + 1
