from __future__ import annotations

import logging

import pytest
from boardd.rpc.seldom import PERIOD_SECS, Seldom


def test_what_comes_often_is_told_seldom_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    seldom = Seldom(logging.getLogger("test"), "%d of them, the last %s", lambda: now)
    for number in range(1, 1001):
        seldom.add(f"no. {number}")
    assert caplog.messages == ["1 of them, the last no. 1"]
    now = PERIOD_SECS
    seldom.add("late", 3)
    assert caplog.messages[1:] == ["1002 of them, the last late"]
