"""Which connections are closed that no call was let in on."""

from __future__ import annotations

from boardd.rpc.newcomers import Newcomers, Peer
from boardd.rpc.tcp_connections import peer_of


def of(host: str, first: int, count: int) -> dict[int, Peer]:
    return {key: Peer(host, key) for key in range(first, first + count)}


def test_who_is_let_in_stays_and_the_others_get_their_time() -> None:
    newcomers = Newcomers(limit=10, patience_secs=5.0)
    connections = of("a", 0, 4)
    assert newcomers.to_close(connections, 0.0) == []
    newcomers.let_in(Peer("a", 2))
    assert newcomers.to_close(connections, 4.9) == []
    assert newcomers.to_close(connections, 5.0) == [0, 1, 3]
    # Named once, also while it takes its time to go.
    assert newcomers.to_close(connections, 6.0) == []
    assert newcomers.to_close({2: Peer("a", 2)}, 1e6) == []


def test_a_call_counts_for_a_connection_that_one_look_has_missed() -> None:
    newcomers = Newcomers(limit=10, patience_secs=5.0)
    connection = {1: Peer("a", 7)}
    newcomers.let_in(Peer("a", 7))
    assert newcomers.to_close({}, 0.0) == []
    assert newcomers.to_close(connection, 1.0) == []
    assert newcomers.to_close(connection, 1e6) == []


def test_a_call_does_not_count_for_a_later_connection_from_the_same_port() -> None:
    newcomers = Newcomers(limit=10, patience_secs=5.0)
    newcomers.let_in(Peer("a", 7))
    for now in (0.0, 1.0):
        assert newcomers.to_close({}, now) == []
    assert newcomers.to_close({1: Peer("a", 7)}, 2.0) == []
    assert newcomers.to_close({1: Peer("a", 7)}, 7.0) == [1]
    newcomers.let_in(Peer("a", 8))
    assert newcomers.to_close({2: Peer("a", 8)}, 8.0) == []
    assert newcomers.to_close({3: Peer("a", 8)}, 9.0) == []
    assert newcomers.to_close({3: Peer("a", 8)}, 14.0) == [3]


def test_past_the_limit_the_host_with_the_most_loses_its_oldest() -> None:
    newcomers = Newcomers(limit=5, patience_secs=100.0)
    few = of("few", 100, 2)
    assert newcomers.to_close(few, 0.0) == []
    many = few | of("many", 0, 9)
    assert newcomers.to_close(many, 1.0) == [0, 1, 2, 3, 4, 5]
    left = {key: peer for key, peer in many.items() if key not in range(6)}
    assert newcomers.to_close(left, 2.0) == []
    assert newcomers.to_close(left | of("new", 200, 1), 3.0) == [6]


def test_those_that_are_late_make_room() -> None:
    newcomers = Newcomers(limit=2, patience_secs=5.0)
    assert newcomers.to_close(of("a", 0, 2), 0.0) == []
    assert newcomers.to_close(of("a", 0, 4), 5.0) == [0, 1]


def test_members_do_not_count() -> None:
    newcomers = Newcomers(limit=2, patience_secs=5.0)
    connections = of("a", 0, 100)
    for peer in connections.values():
        newcomers.let_in(peer)
    assert newcomers.to_close(connections, 0.0) == []
    assert newcomers.to_close(connections | of("a", 100, 2), 1.0) == []


def test_the_peers_that_grpc_names() -> None:
    assert peer_of("ipv4:192.0.2.1:4000") == Peer("192.0.2.1", 4000)
    assert peer_of("ipv6:%5B::1%5D:4000") == Peer("::1", 4000)
    assert peer_of("ipv6:[2001:db8::1]:4000") == Peer("2001:db8::1", 4000)
    assert peer_of("ipv6:%5B::ffff:192.0.2.1%5D:4000") == Peer("192.0.2.1", 4000)
    for zone in ("", "%254", "%25eth0"):
        assert peer_of(f"ipv6:%5Bfe80::1{zone}%5D:4000") == Peer("fe80::1", 4000)
    assert peer_of("unix:") is None
    assert peer_of("unix:/run/boardd.sock") is None
