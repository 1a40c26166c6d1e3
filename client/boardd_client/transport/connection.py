"""What the sender needs of a connection to the daemon, and what it hears from one.

A connection is made, opened and attached, used as a stream in both directions,
and thrown away; whoever reconnects makes a new one.
"""

from __future__ import annotations

from typing import Final, Protocol

from boardd_protos import boardd_pb2 as pb

from boardd_client.errors import BoarddError

#: How much longer than its timeout a call waits for the answer, which the daemon sends at the
#: end of that time. A caller that is to wait for no longer gets no answer.
ANSWER_SECS: Final = 0.1


class ConnectionFailedError(BoarddError):
    """A call or the stream ended; ``code`` is the name of gRPC's status code."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code
        self.message = message


class Events(Protocol):
    """Who is told what happens on a connection, on threads of the connection's own."""

    def on_message(self, message: pb.DaemonMessage) -> None:
        """The daemon sent a message on the stream."""

    def on_room(self) -> None:
        """There is room for more messages, after there was none."""

    def on_end(self, error: ConnectionFailedError) -> None:
        """The stream has ended."""


class Link:
    """Passes one connection's events on until it is cut: one that is left may still speak.

    Notes, for whoever owns the connection, how it fares. The notes stay readable
    after the cut.
    """

    def __init__(self, events: Events) -> None:
        self._events: Events | None = events
        self.is_leaving = False  #: the daemon has said that it leaves
        self.error: ConnectionFailedError | None = None  #: how the stream ended, if it has

    def cut(self) -> None:
        """Passes nothing on from now on."""
        self._events = None

    def on_message(self, message: pb.DaemonMessage) -> None:
        """See ``Events``."""
        if message.HasField("draining"):
            self.is_leaving = True
        events = self._events
        if events is not None:
            events.on_message(message)

    def on_room(self) -> None:
        """See ``Events``."""
        events = self._events
        if events is not None:
            events.on_room()

    def on_end(self, error: ConnectionFailedError) -> None:
        """See ``Events``."""
        self.error = error
        events = self._events
        if events is not None:
            events.on_end(error)


class Connection(Protocol):
    """What a sender needs of a connection; calls raise ``ConnectionFailedError``."""

    def open(self, request: pb.OpenRequest, timeout_secs: float) -> pb.OpenReply:
        """Begins or resumes a session."""

    def attach(self, attach: pb.Attach) -> None:
        """Begins the stream, once, without waiting."""

    def has_room(self) -> bool:
        """Whether ``send`` may be called."""

    def send(self, message: pb.ClientMessage) -> None:
        """Puts a message on the stream, without waiting."""

    def flush(self, request: pb.FlushRequest) -> pb.FlushReply:
        """Waits until records reach a level; the request holds the timeout."""

    def end(self, request: pb.CloseRequest) -> pb.CloseReply:
        """Ends the session; the request holds the timeout."""

    def close(self) -> None:
        """Ends the connection from any thread, any number of times, without waiting for a peer."""
