"""The open sessions and what happens to them.

A session outlives its stream by a lease, so that a client which reconnects goes on where
it was. When the lease ends, the session is written out, its runs are ended, and the
number of its last record is remembered for a while: a client that comes back even later
still writes nothing twice.

A client that shares its ring has a map connection besides, and no lease: the session
lives as long as that is open. When it ends, the client is dead. Then what it left in its
ring is written, and the session ends at once. ``core.session.lifecycle`` has the table.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

from boardd_protos import boardd_pb2 as pb
from boardd_protos.shared import Handover

from boardd.core.budget import Budgets
from boardd.core.errors import UnknownSessionError
from boardd.core.groups.limits import GroupLimits
from boardd.core.held import Held
from boardd.core.session.lifecycle import Event, State
from boardd.core.sync_policy import NEVER, SyncPolicy
from boardd.runs.directories.logdir import Roots
from boardd.runs.relay_intake import RelayIntake
from boardd.runs.run_table import RunTable
from boardd.sessions.client_log import ClientLog
from boardd.sessions.effects import Effects
from boardd.sessions.live_session import AttachedStream, LiveSession, OpenMapConnection
from boardd.sessions.maps import refused
from boardd.sessions.peer_process import PeerProcess
from boardd.sessions.receiver import Receiver
from boardd.sessions.registry import Registry
from boardd.sessions.returned_parts import ReturnedParts
from boardd.sessions.system_metrics import SystemMetrics

_logger = logging.getLogger(__name__)


class Sessions:
    """The sessions of one daemon; see the module. For the event loop's thread only."""

    def __init__(
        self,
        roots: Roots,
        budgets: Budgets,
        clock: Callable[[], float],
        retry_secs: float,
        sync: SyncPolicy = NEVER,
        limits: GroupLimits | None = None,
    ) -> None:
        self.roots = roots
        self.registry = Registry(budgets, clock)
        self.run_table = RunTable(
            budgets,
            roots,
            ReturnedParts(self.registry),
            retry_secs,
            sync,
            self.registry.runs,
            limits,
        )
        self.relay_intake = RelayIntake(roots, self.run_table)
        self.system_metrics = SystemMetrics(self.registry, self.run_table.admit)
        self.receiver = Receiver(self.registry, self.run_table, roots, self.system_metrics.watch)
        self._effects = Effects(self.registry, self.receiver, self.run_table, self.fire)

    def fire(self, live: LiveSession, event: Event) -> None:
        """Tells ``live`` what happened, and does what its life says."""
        for effect in live.life.fire(event):
            self._effects.perform(live, effect)
        live.notice.notify()
        self.registry.changed.notify()

    def open(self, request: pb.OpenRequest, host: str = "") -> LiveSession:
        """Begins or resumes a session; arguments and errors as for ``Registry.open``."""
        live = self.registry.open(request, host)
        self.fire(live, Event.OPENED)
        return live

    # Streams

    async def attach(
        self, live: LiveSession, stream: AttachedStream, start: pb.LogPosition | None
    ) -> None:
        """Makes ``stream`` the session's; one that was there ends first.

        Its records come through the ring, from ``start`` on, or over the stream if that is
        None. Raises ``RequestError`` if the ring cannot be read from there,
        ``UnknownSessionError`` if the session ends meanwhile, and ``DrainingError``.
        """
        while live.state.has_stream:
            self.fire(live, Event.STREAM_ASKED)
            await live.notice.wait(lambda: not live.state.has_stream)
        # What a dead client left is being written; it begins anew, behind that.
        await live.notice.wait(lambda: not live.state.is_ending)
        if live.is_forgotten:
            raise UnknownSessionError(live.session.session_id)
        self.registry.check_draining()
        if start is None:
            live.ring.let_go()
        else:
            live.ring.attach(live.maps.log, start.sequence, start.position)
        live.stream = stream
        self.fire(live, Event.ATTACHED_BY_VALUE if start is None else Event.ATTACHED_SHARED)

    def detach(self, live: LiveSession) -> None:
        """Takes the stream off a session."""
        live.stream = None
        self.fire(live, Event.DETACHED)

    def close_session(self, live: LiveSession) -> None:
        """Ends a session of which all is written. Idempotent."""
        if not live.is_forgotten:
            self.fire(live, Event.CLOSED)

    async def end_runs(self, live: LiveSession) -> None:
        """Ends every run that a session still logs to, after what it sent before."""
        await live.receive_all()  # what was committed before is handed in
        self.run_table.admit(live.session.end().parts)

    # Map connections

    def share_first(
        self, handover: Handover, fd: int, log_fd: int, map_connection: OpenMapConnection
    ) -> LiveSession:
        """``map_connection`` brings map 0 and the log of a session, which may begin with it.

        Both descriptors stay the caller's. Returns the session. Raises ``RefusedError``, and
        errors as for ``Registry.open``.
        """
        log = ClientLog(log_fd)
        try:
            if log.header.session_id != handover.session_id:
                raise refused("the log is another session's")
            live = self._begun(log)
            try:
                if live.state.is_ending:
                    raise refused("the session's client was gone, and the session ends")
                live.maps.share_first(handover, fd, log)
            except BaseException:
                if live.state is State.NEW:
                    self.registry.remember(live.session)  # what is known of one that ended
                    self.registry.forget(live)
                raise
        except BaseException:
            log.close()
            raise
        before, live.map_connection = live.map_connection, map_connection
        if before is not None and before is not map_connection:
            before.close()
        live.ring.let_go()
        self.fire(live, Event.MAPS_SHARED)
        return live

    def is_cared_for(self, session_id: bytes) -> bool:
        """Whether the log of that session is not to be adopted."""
        live = self.registry.get(session_id)
        return live is not None and live.state is not State.LEASED

    def adopt(self, log: ClientLog) -> None:
        """Begins to write what ``log`` holds, or goes on: its client is dead.

        Raises errors as for ``Registry.open``; ``log`` then stays the caller's.
        """
        live = self._begun(log)
        live.maps.adopt(log)
        live.ring.let_go()
        self.fire(live, Event.ADOPTED)

    def _begun(self, log: ClientLog) -> LiveSession:
        """The session of ``log``; a new one begins behind all that its client knows is done."""
        header = log.header
        live = self.registry.get(header.session_id)
        if live is not None:
            return live
        return self.registry.open(
            pb.OpenRequest(
                session_id=header.session_id,
                acknowledged_sequence=log.words().acknowledged_sequence,
                hostname=header.hostname,
                pid=header.pid,
                program=header.program,
            )
        )

    def map_connection_ended(
        self, live: LiveSession, map_connection: OpenMapConnection, process: PeerProcess | None
    ) -> None:
        """The other end of ``map_connection`` is closed; its process was ``process``, if known."""
        if live.map_connection is not map_connection:
            if process is not None:
                process.close()
            return
        live.map_connection = None
        live.process = process
        self.fire(live, Event.PEER_ENDED if process is None else Event.PEER_LEFT)

    # The daemon's end

    async def drain(self) -> None:
        """Begins nothing any more; every stream ends when what it sent is told."""
        self.registry.is_draining = True
        self.system_metrics.close()
        self.run_table.groups.drain()
        for live in self.registry:
            await live.receive_all()  # that a client is gone must be known now
            if not live.is_forgotten:
                self.fire(live, Event.DRAINING)

    def held(self) -> Iterator[Held]:
        """What is held of the budgets that all sessions share."""
        yield from self.registry.held()
        yield from self.run_table.held()

    @property
    def are_quiet(self) -> bool:
        """Whether all that was received is written, and no client is dead or may be."""
        return all(
            live.session.is_quiet and not live.state.is_ending and not live.state.is_verifying
            for live in self.registry
        )

    @property
    def have_streams(self) -> bool:
        """Whether any stream is attached."""
        return any(live.stream is not None for live in self.registry)

    async def close(self) -> None:
        """Gives up what is not written by now; see ``RunTable.close``."""
        for live in self.registry:
            if live.state.is_ending:
                _logger.error(
                    "pid %d is gone, and not all that its ring held could be written",
                    live.session.client.pid,
                )
            self.fire(live, Event.SHUT_DOWN)
        self._effects.cancel()
        self.system_metrics.close()
        await self.run_table.close()
