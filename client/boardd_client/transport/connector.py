"""The connection of a session to its daemon: made, used, lost and made again.

When to do what is decided by ``connection_state``; here its effects are
performed, on the sender's thread.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import Address, UnixAddress
from boardd_protos.shared import HANDOVER_SECS

from boardd_client.errors import AutostartError, NoDaemonError
from boardd_client.session.commit_way import CommitWay
from boardd_client.session.connection_state import (
    Complain,
    Connect,
    ConnectionState,
    Disconnect,
    Effect,
    GiveUp,
    Lack,
    Recover,
    Refuse,
    StartDaemon,
    State,
)
from boardd_client.session.session import Session
from boardd_client.transport import autostart
from boardd_client.transport.connection import Connection, ConnectionFailedError, Events, Link
from boardd_client.transport.listener import check_listener
from boardd_client.transport.look_ahead import tell_lack
from boardd_client.transport.map_handover import HandoverFailedError
from boardd_client.transport.pace import Pace
from boardd_client.transport.session_memory import SessionMemory
from boardd_client.transport.this_process import program

_logger = logging.getLogger("boardd_client")

_OPEN_TIMEOUT_SECS: Final = 5.0
_END_TIMEOUT_SECS: Final = 5.0
_START_TIMEOUT_SECS: Final = 60.0

MakeConnection = Callable[[Events], Connection]


class Connector:
    """See the module.

    All methods are for the sender's thread, except ``interrupt``; any thread may read
    ``connection``, ``syncs_on_flush``, ``is_held_up``, ``is_given_up`` and ``trouble``.
    ``changed`` is notified after each change of the connection. Refers to nobody who gets
    its events for longer than a connection lasts, so that no cycle keeps a session's memory.
    """

    def __init__(
        self,
        address: Address,
        session: Session,
        memory: SessionMemory,
        make_connection: MakeConnection,
        pace: Pace,
        changed: threading.Condition,
    ) -> None:
        self.connection: Connection | None = None
        self.syncs_on_flush = False  #: whether the daemon wants every flush to reach the disk
        self._address = address
        self._session = session
        self._memory = memory
        self._make_connection = make_connection
        self._pace = pace
        self._changed = changed
        self._commit_way = CommitWay()
        self._opening: Connection | None = None
        self._link: Link | None = None
        self._state = ConnectionState(
            may_start_daemon=isinstance(address, UnixAddress),
            jitter=lambda: random.uniform(0.5, 1.0),
        )

    @property
    def is_held_up(self) -> bool:
        """Whether nothing more is sent before the daemon acknowledges something."""
        return self._state.state is State.HELD_UP

    @property
    def trouble(self) -> str:
        """Why the daemon cannot be reached, once that was worth a warning; else empty."""
        return self._state.trouble

    @property
    def is_given_up(self) -> bool:
        """Whether no daemon can be had before somebody changes something."""
        return self._state.is_given_up

    def update(self, events: Events) -> None:
        """Connects, if it is time to. ``events`` hears what happens on the connection.

        Blocks while a connection is opened and while a daemon is started.
        """
        self._note_end()
        if self._pace.is_stopping:
            return
        is_needed = self._session.ring.last_sequence > 0
        effects = self._state.update(time.monotonic(), is_needed=is_needed)
        while effects:
            match effects:
                case [Connect()]:
                    effects = self._open(events)
                case [StartDaemon()]:
                    effects = self._start_daemon()
                case _:
                    self._perform(effects)
                    effects = []

    def send(self) -> None:
        """Sends what the session has to send, as far as there is room."""
        self._note_end()
        connection = self.connection
        if connection is not None and self._state.state is not State.DRAINING:
            try:
                is_full = self._send(connection)
            except HandoverFailedError as error:
                self._perform(self._state.stream_ended("CANCELLED", str(error), time.monotonic()))
            else:
                self._perform(self._state.window(is_full=is_full))

    def end_session(self) -> None:
        """Tells the daemon that the session is over, if there is a connection."""
        if self.connection is not None:
            request = pb.CloseRequest(
                session_id=self._session.session_id, timeout_secs=_END_TIMEOUT_SECS
            )
            with contextlib.suppress(ConnectionFailedError):
                self.connection.end(request)

    def begin_anew(self) -> None:
        """Drops the connection after an error that nobody expected; the next is made later."""
        self._perform(self._state.defect(time.monotonic()))

    def close(self) -> None:
        """Ends the connection for good."""
        self._perform(self._state.stop())

    def interrupt(self) -> None:
        """Makes calls on the connection fail, whichever thread waits in them."""
        for connection in filter(None, (self._opening, self.connection)):
            connection.close()
        self._memory.interrupt()

    def _note_end(self) -> None:
        """Makes the state follow what the connection's threads noted in the link."""
        link = self._link
        if link is not None and link.is_leaving:
            self._perform(self._state.leave_announced())
        if link is not None and link.error is not None:
            code, text = link.error.code, str(link.error)
            self._perform(self._state.stream_ended(code, text, time.monotonic()))

    def _open(self, events: Events) -> list[Effect]:
        link = Link(events)
        connection = self._opening = self._make_connection(link)
        try:
            if isinstance(self._address, UnixAddress):
                check_listener(self._address)
            self._check_stopping()
            self._memory.offer()
            self._check_stopping()
            request = self._session.open_request(socket.gethostname(), os.getpid(), program())
            reply = connection.open(request, _OPEN_TIMEOUT_SECS)
            self.syncs_on_flush = reply.sync_on_flush
            is_shared = self._memory.hand_over(reply)
            self._session.opened(reply, is_shared=is_shared)
            self._commit_way.begin(is_offered=is_shared and reply.takes_commits)
            connection.attach(self._session.attachment())
        except BaseException as error:
            link.cut()
            connection.close()
            self._opening = None
            self._session.disconnected()
            self._notify()
            if not isinstance(error, ConnectionFailedError):
                raise
            return self._state.open_failed(error.code, str(error), time.monotonic())
        self._link = link
        self.connection, self._opening = connection, None
        effects = self._state.opened(time.monotonic())
        self._notify()
        return effects

    def _check_stopping(self) -> None:
        if self._pace.is_stopping:  # nobody would interrupt it any more
            raise ConnectionFailedError("CANCELLED", "the process ends")

    def _start_daemon(self) -> list[Effect]:
        assert isinstance(self._address, UnixAddress)
        try:
            autostart.ensure_daemon(
                self._address, _START_TIMEOUT_SECS, lambda: self._pace.is_stopping
            )
        except AutostartError as error:
            return self._state.start_failed(
                str(error),
                time.monotonic(),
                is_final=isinstance(error, NoDaemonError),
                was_killed=isinstance(error, NoDaemonError) and error.was_killed,
            )
        return self._state.daemon_started(time.monotonic())

    def _send(self, connection: Connection) -> bool:
        """Returns whether the window is full.

        Raises ``HandoverFailedError`` when the records must go another way.
        """
        if not self._memory.share_large():
            return False
        last = self._session.ring.last_sequence  # what comes next waits for the next round
        while connection.has_room():
            messages = self._session.next_messages(now=time.monotonic())
            if not messages:
                return self._session.is_window_full
            # One among them may lie in a map that was made meanwhile.
            if not self._memory.share_large(HANDOVER_SECS):
                raise HandoverFailedError("the daemon does not answer for shared memory")
            is_short = self._commit_way.is_short(messages, self._session.acknowledged_sequence)
            if is_short and self._memory.commit(messages[0].committed):
                if messages[0].committed.sequence >= last:
                    return False
                continue
            for message in messages:
                self._commit_way.streamed(message)
                connection.send(message)
        return False

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Disconnect():
                    self._disconnect()
                case Refuse(text):
                    self._session.refused(text)
                case Complain(text):
                    _logger.warning(
                        "boardd: the daemon at %s cannot be reached (%s); records are kept and "
                        "sent when it can",
                        self._address,
                        text,
                    )
                case Lack(text):
                    assert isinstance(self._address, UnixAddress)  # others are not started
                    path = self._memory.log_path
                    tell_lack(
                        self._address,
                        text,
                        f"in {path}" if path else "in memory, and lost with this process",
                    )
                case GiveUp():
                    pass  # who waits looks, and is notified below
                case Recover():
                    _logger.info("boardd: the daemon at %s is back", self._address)
        if effects:
            self._notify()

    def _disconnect(self) -> None:
        connection, self.connection = self.connection, None
        link, self._link = self._link, None
        if link is not None:
            link.cut()
        if connection is not None:
            self._session.disconnected()
            connection.close()

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()
