"""Which way the daemon is told how far it may read the ring: the stream, or a shorter one.

Over the map connection a commit costs both ends a fraction of a message of the stream. But
nothing says in which order the daemon reads the two. So a commit goes that way only once
everything that was sent over the stream is known to be read.
"""

from __future__ import annotations

from collections.abc import Sequence

from boardd_protos import boardd_pb2 as pb


class CommitWay:
    """The way of the commits of one session; for the sender's thread."""

    def __init__(self) -> None:
        self._is_offered = False
        #: The last commit that went over the stream.
        self._streamed_sequence = 0
        #: Whether something went over the stream behind that.
        self._is_ahead = False

    def begin(self, *, is_offered: bool) -> None:
        """A stream begins; ``is_offered``: its daemon takes commits also the shorter way."""
        self._is_offered = is_offered
        self._streamed_sequence = 0
        self._is_ahead = True

    def is_short(self, messages: Sequence[pb.ClientMessage], acknowledged_sequence: int) -> bool:
        """Whether ``messages``, which come next, are a commit that may go the shorter way."""
        return (
            self._is_offered
            and not self._is_ahead
            and acknowledged_sequence >= self._streamed_sequence
            and len(messages) == 1
            and messages[0].WhichOneof("message") == "committed"
        )

    def streamed(self, message: pb.ClientMessage) -> None:
        """``message`` goes over the stream."""
        self._is_ahead = message.WhichOneof("message") != "committed"
        if not self._is_ahead:
            self._streamed_sequence = message.committed.sequence
