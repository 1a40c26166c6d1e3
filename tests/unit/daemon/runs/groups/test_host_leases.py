"""Hosts are given up once their lease is over, and each once."""

from __future__ import annotations

import math

from boardd.core.groups.limits import HEARTBEAT_SECS, GroupLimits
from boardd.runs.groups.group_log import RELEASE_SECS
from boardd.runs.groups.host_leases import MAX_LOOK_SECS, HostLeases


def test_a_host_is_given_up_once_until_it_is_heard_of_again() -> None:
    leases = HostLeases(10.0)
    assert leases.deadline == math.inf
    leases.restored([b"a", b"b"], 0.0)
    leases.heard(b"a", 5.0)
    leases.restored([b"a"], 6.0)
    assert (leases.deadline, leases.expired(9.0)) == (10.0, [])
    assert leases.expired(10.0) == [b"b"]
    assert leases.expired(15.0) == [b"a"]
    assert (leases.deadline, leases.expired(99.0)) == (math.inf, [])
    leases.heard(b"a", 99.0)
    assert leases.deadline == 109.0


def test_time_in_which_no_host_could_be_heard_does_not_count() -> None:
    leases = HostLeases(100.0)
    leases.heard(b"a", 0.0)
    assert leases.expired(90.0) == []
    held_up_until = 90.0 + MAX_LOOK_SECS + 1000.0
    leases.heard(b"b", held_up_until - 1.0)
    assert leases.expired(held_up_until) == [b"a"]
    assert leases.deadline == held_up_until + 100.0

    leases = HostLeases(100.0)
    leases.heard(b"a", 0.0)
    assert leases.expired(10.0) == []
    assert leases.expired(10.0 + MAX_LOOK_SECS + 1000.0) == []
    assert leases.deadline == 1100.0


def test_hosts_that_say_that_they_are_there_are_not_given_up_by_default() -> None:
    assert GroupLimits().host_secs > 3 * HEARTBEAT_SECS
    assert GroupLimits().host_secs > MAX_LOOK_SECS > RELEASE_SECS
