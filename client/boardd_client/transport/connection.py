"""What the sender needs of a connection to the daemon, and what it hears from one.

A connection is made, opened and attached, used as a stream in both directions,
and thrown away; whoever reconnects makes a new one.
"""

from __future__ import annotations

import itertools
import threading
from typing import Final, Protocol

from boardd_protos import boardd_pb2 as pb
from boardd_protos.shared import Acknowledgement

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


_numbers: Final = itertools.count(1)


class Link:
    """Passes one connection's events on until it is cut: one that is left may still speak.

    Notes, for whoever owns the connection, how it fares. The notes stay readable
    after the cut. What is acknowledged beside the stream is passed on in its place among the
    stream's messages.
    """

    def __init__(self, events: Events) -> None:
        self._events: Events | None = events
        self.number: Final = next(_numbers)  #: the stream's, in this process
        self._lock = threading.Lock()  # guards what follows, and the order
        self._heard_messages = 0
        self._early: Acknowledgement | None = None
        self.is_leaving = False  #: the daemon has said that it leaves
        self.error: ConnectionFailedError | None = None  #: how the stream ended, if it has

    def cut(self) -> None:
        """Passes nothing on from now on."""
        self._events = None

    def on_message(self, message: pb.DaemonMessage) -> None:
        """See ``Events``."""
        if message.HasField("draining"):
            self.is_leaving = True
        with self._lock:
            self._heard_messages += 1
            self._pass_on(message)
            early = self._early
            if early is not None and early.stream_messages <= self._heard_messages:
                self._early = None
                self._acknowledge(early)

    def on_acknowledgement(self, acknowledgement: Acknowledgement) -> None:
        """The daemon has said beside the stream what is done."""
        if acknowledgement.stream_number != self.number:
            return
        with self._lock:
            if acknowledgement.stream_messages > self._heard_messages:
                self._early = acknowledgement
            else:
                self._acknowledge(acknowledgement)

    def _acknowledge(self, acknowledgement: Acknowledgement) -> None:
        # One that another follows is left out: it may contradict what the stream has said.
        if acknowledgement.stream_messages == self._heard_messages:
            written_sequence = acknowledgement.written_sequence
            acknowledged = pb.Acknowledged(written_sequence=written_sequence)
            self._pass_on(pb.DaemonMessage(acknowledged=acknowledged))

    def _pass_on(self, message: pb.DaemonMessage) -> None:
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
