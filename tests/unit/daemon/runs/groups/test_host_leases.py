"""Hosts are given up once their lease is over, and each once."""

from __future__ import annotations

import math

from boardd.core.groups.limits import GroupLimits
from boardd.runs.groups.host_leases import HostLeases


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


def test_no_host_is_given_up_unless_a_limit_is_set() -> None:
    leases = HostLeases(GroupLimits().host_secs)
    leases.heard(b"a", 0.0)
    assert (leases.deadline, leases.expired(1e12)) == (math.inf, [])
