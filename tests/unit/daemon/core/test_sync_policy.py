"""Policies of syncing, and which of two is stricter."""

from __future__ import annotations

import math

import pytest
from boardd.core.sync_policy import LEAST_SYNC_SECS, NEVER, SyncPolicy


def test_the_stricter_of_two_does_what_both_ask_for() -> None:
    assert NEVER.stricter(NEVER) == NEVER
    assert NEVER.stricter(SyncPolicy(5.0)) == SyncPolicy(5.0)
    assert SyncPolicy(5.0).stricter(SyncPolicy(3.0, on_flush=True)) == SyncPolicy(3.0, True)
    assert SyncPolicy(on_flush=True).stricter(SyncPolicy(7.0)) == SyncPolicy(7.0, True)


@pytest.mark.parametrize("secs", [-1.0, math.nan, math.inf, -math.inf, 0.0])
def test_what_is_no_time_is_none(secs: float) -> None:
    assert SyncPolicy(secs) == NEVER


def test_nothing_is_synced_without_pause() -> None:
    assert SyncPolicy(1e-9).secs == LEAST_SYNC_SECS
