"""Which connections over TCP are closed because nothing shows that they may be there.

A *newcomer* is a connection on which no call was let in yet: without a token, silent, or
busy with calls that are refused. Newcomers get a limited time, and there is a limited number
of them. Past it the host with the most of them loses its oldest, so that whoever
holds connections open keeps no other host out. Members, the others, stay.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from boardd.core.held import Held

#: Newcomers at once, of all hosts.
MAX_NEWCOMERS: Final = 64
#: How long a connection may take until a call is let in on it.
PATIENCE_SECS: Final = 10.0


class Peer(NamedTuple):
    """The other end of a connection."""

    host: str  #: an IP address
    port: int


class Newcomers:
    """At most ``limit`` newcomers, each for at most ``patience_secs``.

    Connections have keys, which are not used again while they are open.
    """

    def __init__(self, limit: int = MAX_NEWCOMERS, patience_secs: float = PATIENCE_SECS) -> None:
        self._limit = limit
        self._patience_secs = patience_secs
        self._let_in: set[Peer] = set()  # since the last look
        self._let_in_before: set[Peer] = set()  # and not found by that look
        self._members: set[int] = set()
        self._seen_at: dict[int, float] = {}  # of newcomers, the oldest first
        self._turned_away: set[int] = set()

    def held(self) -> Held:
        """How many there are."""
        return Held("new-tcp-connections", len(self._seen_at), self._limit)

    def let_in(self, peer: Peer) -> None:
        """A call was let in on the connection with ``peer``."""
        self._let_in.add(peer)

    def to_close(self, connections: Mapping[int, Peer], now: float) -> list[int]:
        """Of all ``connections`` that are open, those to be closed at ``now``, in seconds.

        Each is named once. A connection may be missing at the first look after it was made.
        """
        let_in = self._let_in | self._let_in_before
        self._members &= connections.keys()
        self._turned_away &= connections.keys()
        self._seen_at = {key: at for key, at in self._seen_at.items() if key in connections}
        for key, peer in connections.items():
            if peer in let_in:
                self._members.add(key)
                self._seen_at.pop(key, None)
            elif key not in self._members and key not in self._turned_away:
                self._seen_at.setdefault(key, now)
        self._let_in_before = self._let_in.difference(connections.values())
        self._let_in = set()
        late = [key for key, at in self._seen_at.items() if now - at >= self._patience_secs]
        self._turn_away(late)
        surplus = self._surplus(connections)
        self._turn_away(surplus)
        return late + surplus

    def _turn_away(self, keys: Iterable[int]) -> None:
        for key in keys:
            del self._seen_at[key]
            self._turned_away.add(key)

    def _surplus(self, connections: Mapping[int, Peer]) -> list[int]:
        by_host: dict[str, list[int]] = {}
        for key in reversed(self._seen_at):
            by_host.setdefault(connections[key].host, []).append(key)
        most = [(-len(keys), host) for host, keys in by_host.items()]
        heapq.heapify(most)
        surplus = []
        for _ in range(len(self._seen_at) - self._limit):
            count, host = most[0]
            heapq.heapreplace(most, (count + 1, host))
            surplus.append(by_host[host].pop())
        return surplus
