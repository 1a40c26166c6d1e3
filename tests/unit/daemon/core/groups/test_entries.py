from __future__ import annotations

from boardd.core.groups.entries import Attempt


def test_attempts_are_ordered_by_their_epoch_first() -> None:
    assert Attempt(1, "z", 9) < Attempt(2, "a", 0) < Attempt(2, "a", 1)
