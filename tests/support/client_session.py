"""A client's session and what a daemon makes of its messages, without a socket."""

from __future__ import annotations

from boardd_client.errors import CaptureError
from boardd_client.memory.arena import Arena
from boardd_client.memory.ring import Ring
from boardd_client.session.captures import Capture
from boardd_client.session.scalar_history import ScalarHistory
from boardd_client.session.schema import DefinedRun
from boardd_client.session.session import Session
from boardd_protos import REVISION
from boardd_protos import boardd_pb2 as pb
from boardd_protos import frame as framing
from boardd_protos.frame import FrameKind

SESSION_ID = bytes(range(16))

#: 9 bytes.
PAYLOAD = pb.Payload(text=pb.Text(markdown="short")).SerializeToString()


def make_session(
    log_bytes: int = 1 << 16, arena_bytes: int = 1 << 16, *, window_bytes: int = 1 << 30
) -> Session:
    """A session over plain memory."""
    return Session(
        SESSION_ID,
        Ring(memoryview(bytearray(log_bytes)), reserve_bytes=log_bytes // 4),
        Arena(memoryview(bytearray(arena_bytes)), reserve_bytes=arena_bytes // 64),
        history=ScalarHistory(1 << 16),
        window_bytes=window_bytes,
    )


def define(session: Session, tag: str = "loss") -> tuple[DefinedRun, int]:
    """Defines a run and a series of it, whose number it returns."""
    run = session.define_run(pb.RunDefinition(logdir="/logs"))
    return run, session.define_series(run, tag)


def log_scalars(session: Session, series: int, count: int) -> None:
    """Logs ``count`` scalars, value and step alike from 0 on."""
    for step in range(count):
        assert session.ring.append_scalar(series, step, 1.0, float(step))


def claim(session: Session, series: int, data: bytes, payload: bytes = PAYLOAD) -> Capture:
    """Claims a record with a tensor whose bytes are in its slot already."""
    capture = session.claim(series, 0, 1.0, payload, [len(data)])
    assert isinstance(capture, Capture)
    capture.slots[0].view[:] = data
    return capture


def log_tensor(session: Session, series: int, data: bytes) -> None:
    """Logs a record with one tensor."""
    session.copies_started(claim(session, series, data), [])


class Daemon:
    """What a daemon makes of the messages: checks the order, keeps what it got."""

    def __init__(self, received: int = 0, **limits: int) -> None:
        self.received = received
        self.limits = {"revision": REVISION, **limits}
        self.runs: dict[int, pb.RunDefinition] = {}
        self.series: dict[int, pb.SeriesDefinition] = {}
        self.frames: list[framing.Frame] = []
        self.tensors: dict[int, list[bytes]] = {}
        self.reports: list[dict[str, int]] = []
        self.message_bytes: list[int] = []

    def open(self, session: Session, *, written: int | None = None) -> None:
        """Opens the session as this daemon would."""
        session.opened(
            pb.OpenReply(
                received_sequence=self.received,
                written_sequence=self.received if written is None else written,
                **self.limits,
            )
        )

    def take(self, session: Session, max_bytes: int = 1 << 20) -> int:
        """Takes one helping of messages; returns how many there were."""
        messages = session.next_messages(max_bytes)
        for message in messages:
            self.message_bytes.append(message.ByteSize())
            getattr(self, f"_take_{message.WhichOneof('message')}")(message)
        return len(messages)

    def take_all(self, session: Session, max_bytes: int = 1 << 20) -> None:
        """Takes helpings until there are none."""
        while self.take(session, max_bytes):
            pass

    def _take_definitions(self, message: pb.ClientMessage) -> None:
        self.runs.update((run.run, run) for run in message.definitions.runs)
        for series in message.definitions.series:
            assert series.run in self.runs
            self.series[series.series] = series

    def _take_report(self, message: pb.ClientMessage) -> None:
        self.reports.append({drop.reason: drop.records for drop in message.report.dropped})

    def _take_chunk(self, message: pb.ClientMessage) -> None:
        chunk = message.chunk
        assert chunk.sequence == self.received + 1
        tensors = self.tensors.setdefault(chunk.sequence, [])
        if chunk.offset == 0:
            del tensors[chunk.tensor :]
            tensors.append(b"")
        assert (chunk.tensor, chunk.offset) == (len(tensors) - 1, len(tensors[-1]))
        tensors[-1] += chunk.data

    def _take_records(self, message: pb.ClientMessage) -> None:
        for frame in framing.decode(message.records.frames):
            assert frame.sequence == self.received + 1
            assert frame.flags == 0
            known = {0, *self.series, *self.runs}
            assert frame.kind == FrameKind.ABORTED or frame.target in known
            self.received = frame.sequence
            self.frames.append(frame)


class Copy:
    """A copy under way, which a session itself never waits for."""

    def is_done(self) -> bool:
        return False

    def wait(self) -> None:
        raise CaptureError("not called by a session")


def balance(session: Session) -> None:
    """Checks that every accepted record is written, rejected or pending."""
    counts = session.statistics()
    assert counts.accepted == counts.written + counts.pending + sum(counts.rejected.values())
