"""What comes in from clients: messages of streams, frames of rings, definitions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.shared import Commit

from boardd.core.errors import RequestError
from boardd.core.intake.frames import WalkedFrames
from boardd.core.intake.walker import walk_pieces
from boardd.core.refusals import Refusal
from boardd.core.runs.shared_runs import SharedRun, newly_shared, sharing_text
from boardd.core.session.batch import Batch
from boardd.core.session.session import Session
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.run_locator import RunLocator
from boardd.runs.run_table import RunTable
from boardd.runs.writing.turn import Turn
from boardd.sessions.held_watch import HeldWatch
from boardd.sessions.live_session import LiveSession
from boardd.sessions.registry import Registry

#: Frames of that many bytes are taken in one go.
_WHOLE_BYTES: Final = 6 << 10
#: Definitions are taken this many at a time.
_DEFINITIONS_AT_A_TIME: Final = 32
#: Each run that purges is compared with all that are open.
_PURGES_AT_A_TIME: Final = 4


class Receiver:
    """Hands what comes in to its session, and the parts that come of it to ``run_table``.

    ``measure`` is told of the runs that a session defines.
    """

    def __init__(
        self,
        registry: Registry,
        run_table: RunTable,
        roots: Roots,
        measure: Callable[[LiveSession, Sequence[pb.RunDefinition]], None],
    ) -> None:
        self._registry = registry
        self._run_table = run_table
        self._locate = RunLocator(roots, run_table.threads)
        self._held_watch = HeldWatch()
        self._measure = measure

    async def room(self, session: Session) -> None:
        """Waits until budgets allow reading on for ``session``."""
        registry, intake = self._registry, self._registry.intake
        beyond = intake.beyond
        await registry.changed.wait(
            lambda: (
                session.pending_bytes < registry.budgets.session_intake_bytes
                and intake.may_read(session.session_id, session.held_bytes, session.tensor_bytes)
            )
        )
        if intake.beyond != beyond:  # which leaves room for others
            registry.changed.notify()

    async def take(self, live: LiveSession, message: pb.ClientMessage, *, reads_ring: bool) -> None:
        """Takes a message of a session's stream; ``reads_ring`` says where its records lie.

        Raises ``RequestError`` or ``FrameError`` when it contradicts the protocol.
        """
        kind = message.WhichOneof("message")
        is_parked = kind == "records" and message.records.sparse
        if reads_ring and kind in ("records", "chunk") and not is_parked:
            raise RequestError(f"{kind} on a stream whose records lie in the shared ring")
        if kind == "records":
            await self._take_records(live, message.records, reads_ring=reads_ring)
        elif kind == "committed":
            if not reads_ring:
                raise RequestError("committed, but Attach has set no log_from")
            # A client shares a map before it commits what lies in it.
            await live.receive_all()
            self._commit(live, message.committed.sequence, message.committed.position)
        elif kind == "chunk":
            live.session.add_chunk(message.chunk)
        elif kind == "definitions":
            await self.define(live, message.definitions)
        elif kind == "report":
            await self._take_report(live, message.report)
        elif kind == "heard_rejections":
            live.session.telling.heard(message.heard_rejections)
        elif kind == "attach":
            raise RequestError("the stream is attached already")
        else:
            raise RequestError("a message of a kind that this daemon does not know")

    async def _take_records(
        self, live: LiveSession, records: pb.Records, *, reads_ring: bool
    ) -> None:
        """Takes records that came over the stream; nothing of them if any frame is malformed."""
        session, turn = live.session, Turn()
        if len(records.frames) > _WHOLE_BYTES:
            walked = []
            for frames in walk_pieces(
                records.frames, session.received_sequence, is_sparse=records.sparse
            ):
                walked.append(frames)
                await turn.pause()
            for frames in walked:
                maps = live.maps.views if reads_ring else None
                self._admit(live, session.receive_walked(frames, maps))
                await turn.pause()
            records = pb.Records(sparse=records.sparse, settled_sequence=records.settled_sequence)
        if records.sparse:
            maps = live.maps.views if reads_ring else None
            self._admit(live, session.receive_sparse(records, maps))
        elif records.frames:
            self._admit(live, session.receive(records.frames))

    async def _take_report(self, live: LiveSession, report: pb.ClientReport) -> None:
        turn = Turn()
        for begin in range(0, len(report.dropped), _DEFINITIONS_AT_A_TIME):
            dropped = report.dropped[begin : begin + _DEFINITIONS_AT_A_TIME]
            piece = pb.ClientReport(dropped=dropped)
            self._run_table.admit(live.session.report(piece, time.time()).parts)
            await turn.pause()

    def commit(self, live: LiveSession, commit: Commit) -> None:
        """Takes a commit that came over the map connection, unless a later one came before.

        Raises ``RequestError`` if it does not lie in the ring.
        """
        ring = live.ring.reading
        if ring is None or commit.sequence > ring.committed_sequence:
            self._commit(live, commit.sequence, commit.position)

    def _commit(self, live: LiveSession, sequence: int, position: int) -> None:
        ring = live.ring.reading
        if ring is None:
            raise RequestError("committed, but Attach has set no log_from")
        if live.session.received_sequence < ring.sequence:
            raise RequestError(
                f"committed, but of what comes before the ring only record "
                f"{live.session.received_sequence} of {ring.sequence} has come"
            )
        ring.commit(sequence, position)
        live.committed.notify()

    def receive(self, live: LiveSession, frames: Sequence[WalkedFrames]) -> None:
        """Takes the frames that come next in a session's ring."""
        self._admit(live, live.session.receive_walked(frames, live.maps.views))

    def receive_parked(self, live: LiveSession, frames: bytes, settled_sequence: int = 0) -> None:
        """Takes frames between which records are done; likewise up to ``settled_sequence``."""
        records = pb.Records(frames=frames, sparse=True, settled_sequence=settled_sequence)
        self._admit(live, live.session.receive_sparse(records, live.maps.views))

    def _admit(self, live: LiveSession, batch: Batch) -> None:
        self._run_table.admit(batch.parts)
        self._held_watch.begin(live)
        if batch.told:
            live.notice.notify()

    async def define(self, live: LiveSession, definitions: pb.Definitions) -> None:
        """Takes definitions. Raises ``RequestError``; those before may be taken."""
        turn = Turn()
        for piece in _pieces(definitions):
            await self._define(live, piece)
            await turn.pause()

    async def _define(self, live: LiveSession, definitions: pb.Definitions) -> None:
        logdirs: dict[str, str | Refusal] = {}
        if definitions.runs:
            # A process has one mount namespace, so all its runs in a logdir say the same.
            wanted = {run.logdir: run for run in definitions.runs}
            logdirs = await self._locate.logdirs(wanted)
        schema = live.session.schema
        unresolved = schema.unresolved(definitions, logdirs)
        if unresolved:
            schema.paths.resolve(await self._locate.paths(unresolved))
        to_purge = schema.paths.to_purge(definitions, logdirs)
        if to_purge:
            schema.paths.found(await self._locate.curves(to_purge))
        defined = live.session.define(definitions, logdirs)
        for run in defined.runs:
            self._run_table.open(run)
            session_id, is_absent = live.session.session_id, self._registry.runs.is_absent
            for shared in newly_shared(run, session_id, is_absent):
                self._warn_of(shared)
        if definitions.runs:
            self._measure(live, definitions.runs)
        if defined.refusals:
            self._registry.refused_runs.note(live.session, defined.refusals)
            live.notice.notify()

    def _warn_of(self, shared: SharedRun) -> None:
        told, other = self._registry.get(shared.told), self._registry.get(shared.other)
        if told is not None and other is not None:
            who = other.session.client
            told.session.telling.notice(
                sharing_text(shared.path, who.program, who.pid, who.hostname)
            )
            told.notice.notify()


def _pieces(definitions: pb.Definitions) -> Iterator[pb.Definitions]:
    """Yields ``definitions`` in messages that are taken in a few milliseconds each."""
    runs, series = definitions.runs, definitions.series
    if len(runs) + len(series) <= _PURGES_AT_A_TIME:
        yield definitions
        return
    purges = any(run.HasField("purge_step") for run in runs)
    step = _PURGES_AT_A_TIME if purges else _DEFINITIONS_AT_A_TIME
    for begin in range(0, len(runs), step):
        yield pb.Definitions(runs=runs[begin : begin + step])
    for begin in range(0, len(series), _DEFINITIONS_AT_A_TIME):
        yield pb.Definitions(series=series[begin : begin + _DEFINITIONS_AT_A_TIME])
