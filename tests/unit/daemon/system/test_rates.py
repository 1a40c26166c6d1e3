"""Rates are those between two measurements, and only of counters that grew."""

from __future__ import annotations

from boardd.system.rates import Rates


def test_a_rate_is_the_growth_in_a_second() -> None:
    rates = Rates()
    assert rates.take({"read": 10.0}, 100.0) == {}
    assert rates.take({"read": 16.0, "new": 5.0}, 103.0) == {"read": 2.0}
    assert rates.take({"read": 16.0, "new": 7.0}, 104.0) == {"read": 0.0, "new": 2.0}


def test_a_counter_that_began_anew_has_no_rate() -> None:
    rates = Rates()
    rates.take({"sent": 10.0, "read": 1.0}, 1.0)
    assert rates.take({"sent": 3.0, "read": 1.0}, 2.0) == {"read": 0.0}


def test_no_time_has_no_rate() -> None:
    rates = Rates()
    rates.take({"sent": 1.0}, 1.0)
    assert rates.take({"sent": 2.0}, 1.0) == {}
