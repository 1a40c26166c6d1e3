"""The client's end of a pair: a real session over a log and an arena in plain memory.

What the program's threads and the sender's do in a process, the end does when it is told to.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from boardd_client.errors import CaptureError
from boardd_client.memory.arena import Arena
from boardd_client.memory.drop_reason import DropReason
from boardd_client.memory.ring import Ring
from boardd_client.session.captures import Capture
from boardd_client.session.scalar_history import ScalarHistory
from boardd_client.session.schema import DefinedRun
from boardd_client.session.session import Session
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import decode

from support.pair_ledger import Content, Ledger, Record
from support.ring_memory import LogMemory

LOG_BYTES: Final = 1536
ARENA_BYTES: Final = 1024
DEFINITIONS_BYTES: Final = 1 << 14
WINDOW_BYTES: Final = 500
WALL_TIME: Final = 1e9

#: The tag that every daemon refuses, and the curves of a dict.
BAD_TAG: Final = "///"
#: The logdir whose runs are merged with another rank's; this one keeps a copy of all records.
MERGED: Final = "b"
CURVES: Final = ("curve/a", "curve/b", "curve/c")


def scalar_bytes(step: int) -> bytes:
    """The value that the scalar of a step has."""
    return struct.pack("<d", step / 4)


def tensor_bytes(step: int, size_bytes: int) -> bytes:
    """The bytes that the tensor of a step has."""
    return bytes((step * 37 + at) % 251 for at in range(size_bytes))


class Copy:
    """A copy under way: a ``Pending`` and a ``PendingScalar``. ``fill`` makes its bytes."""

    def __init__(self, record: Record, fill: Callable[[], None]) -> None:
        self.record = record
        self._fill = fill
        self._is_done = False

    def end(self, *, fails: bool) -> None:
        """The framework has made the copy, or cannot."""
        self._is_done = True
        self.record.has_failed = fails
        if not fails:
            self._fill()

    def is_done(self) -> bool:
        return self._is_done

    def wait(self) -> None:
        self.result()

    def result(self) -> float:
        assert self._is_done, "a copy under way is waited for"
        if self.record.has_failed:
            raise CaptureError("the framework failed")
        return self.record.content.step / 4


@dataclass
class Writer:
    """A writer's run and its series by tag."""

    run: DefinedRun
    path: str
    series: dict[str, int] = field(default_factory=dict)


class ClientEnd:
    """A client's process; its memory outlives it. ``is_shareable``: the daemon may read it."""

    def __init__(self, number: int, ledger: Ledger, *, is_shareable: bool) -> None:
        self.session_id = bytes([number]) * 16
        self.is_shareable = is_shareable
        self.memory = memoryview(bytearray(ARENA_BYTES))
        self.log = LogMemory(LOG_BYTES, DEFINITIONS_BYTES)
        self.ring = Ring(
            self.log.ring, reserve_bytes=LOG_BYTES // 4, tail_words=self.log.tail_words
        )
        self.arena = Arena(self.memory, reserve_bytes=64)
        self.session = Session(
            self.session_id,
            self.ring,
            self.arena,
            history=ScalarHistory(1 << 12),
            window_bytes=WINDOW_BYTES,
            arena_offset=0 if is_shareable else None,
            definitions=self.log.kept if is_shareable else None,
            parked=self.log.parked,
        )
        self.copies: list[Copy] = []
        self.dropped = 0
        self._ledger = ledger
        self._writers: dict[str, Writer] = {}
        self._step = 0

    # Calls of the program

    def log_scalar(self, logdir: str, tag: str = "loss") -> None:
        """Logs a number."""
        writer, step = self._writer(logdir), self._next_step()
        if self._is_held_up(writer, step):
            return
        series = self._series(writer, tag)
        sequence = self.ring.append_scalar(series, step, WALL_TIME, step / 4)
        if sequence:
            self._accept(writer, sequence, tag, step, scalar_bytes(step))
        else:
            self._drop(writer, DropReason.LOG_FULL, step)

    def log_curves(self, logdir: str) -> None:
        """Logs a dict of numbers, each to a sub-run of its own: all of them or none."""
        writer, step = self._writer(logdir), self._next_step()
        if self._is_held_up(writer, step, len(CURVES)):
            return
        series = [self._series(writer, tag) for tag in CURVES]
        values = np.full(len(series), step / 4)
        last = self.ring.append_scalars(np.array(series, np.uint64), step, WALL_TIME, values)
        if not last:
            self._drop(writer, DropReason.LOG_FULL, step, len(series))
            return
        for sequence, tag in enumerate(CURVES, last - len(CURVES) + 1):
            self._accept(writer, sequence, tag, step, scalar_bytes(step))

    def log_tensor(self, logdir: str, size_bytes: int, *, is_copied: bool) -> None:
        """Logs a tensor whose copy is made at once, or is under way afterwards."""
        writer, step = self._writer(logdir), self._next_step()
        if self._is_held_up(writer, step):
            return
        series = self._series(writer, "weights")
        capture = Capture(0, ())
        payload = pb.Payload(
            tensors=[pb.Tensor(dtype="uint8", shape=[size_bytes])],
            histogram=pb.Histogram(count=1),
        ).SerializeToString()
        claimed = self.session.claim(series, step, WALL_TIME, payload, [size_bytes], into=capture)
        if isinstance(claimed, DropReason):
            self._drop(writer, claimed, step)
            return
        data = tensor_bytes(step, size_bytes)
        record = self._accept(writer, capture.sequence, "weights", step, data)
        view = capture.slots[0].view
        view[:] = b"\xee" * size_bytes

        def fill() -> None:
            view[:] = data

        if is_copied:
            fill()
        self.session.copies_started(capture, [] if is_copied else [self._copy(record, fill)])

    def log_lazy(self, logdir: str, *, in_slot: bool) -> None:
        """Logs a scalar whose value is still to come, through a slot or without one."""
        writer, step = self._writer(logdir), self._next_step()
        if self._is_held_up(writer, step):
            return
        series = self._series(writer, "loss")
        capture = Capture(0, ())
        refusal = DropReason.LOG_FULL
        if in_slot:
            claimed = self.session.claim(
                series, step, WALL_TIME, b"", [8], scalar_dtype="float64", into=capture
            )
            if isinstance(claimed, DropReason):
                refusal = claimed
        else:
            self.session.claim_scalar(series, step, WALL_TIME, capture)
        if not capture.sequence:
            self._drop(writer, refusal, step)
            return
        record = self._accept(writer, capture.sequence, "loss", step, scalar_bytes(step))
        if in_slot:
            view = capture.slots[0].view

            def fill() -> None:
                view[:] = scalar_bytes(step)

            self.session.copies_started(capture, [self._copy(record, fill)])
        else:
            capture.lazy = self._copy(record, lambda: None)

    def end_run(self, logdir: str) -> None:
        """Closes a writer. The next call for ``logdir`` makes another."""
        writer = self._writers.get(logdir)
        if writer is None:
            return
        sequence = self.session.end_run(writer.run, WALL_TIME)
        if sequence:
            del self._writers[logdir]
            content = Content(writer.path, "", 0, b"")
            self._ledger.accept(Record(self.session_id, sequence, content, self.ring))

    def end_copy(self, which: int, *, fails: bool) -> None:
        """One of the copies under way ends."""
        if self.copies:
            self.copies.pop(which % len(self.copies)).end(fails=fails)

    def _writer(self, logdir: str) -> Writer:
        writer = self._writers.get(logdir)
        if writer is None:
            message = pb.RunDefinition(logdir=logdir, rank=-1)
            if logdir == MERGED:
                message = pb.RunDefinition(logdir=logdir, rank=1, world_size=2, per_rank="all")
            run = self.session.define_run(message)
            writer = self._writers[logdir] = Writer(run, f"/{logdir}")
        return writer

    def _series(self, writer: Writer, tag: str) -> int:
        series = writer.series.get(tag)
        if series is None:
            sub_run = tag if tag in CURVES else ""
            series = self.session.define_series(writer.run, tag, sub_run)
            writer.series[tag] = series
        return series

    def _accept(self, writer: Writer, sequence: int, tag: str, step: int, data: bytes) -> Record:
        path = f"{writer.path}/{tag}" if tag in CURVES else writer.path
        content = Content(path, tag, step, data)
        return self._ledger.accept(Record(self.session_id, sequence, content, self.ring))

    def _copy(self, record: Record, fill: Callable[[], None]) -> Copy:
        copy = Copy(record, fill)
        self.copies.append(copy)
        return copy

    def _drop(self, writer: Writer, reason: DropReason, step: int, records: int = 1) -> None:
        self.dropped += records
        self.session.drop(reason, run=writer.run, step=step, records=records)

    def _is_held_up(self, writer: Writer, step: int, records: int = 1) -> bool:
        """Whether the run takes no more for now: these records are dropped."""
        if writer.run.is_held_up:
            self._drop(writer, DropReason.RUN_HELD_UP, step, records)
        return writer.run.is_held_up

    def _next_step(self) -> int:
        self._step += 1
        return self._step

    # The sender's thread

    def resolve(self) -> None:
        """Gives the oldest claimed records their values, as far as the copies have ended."""
        while True:
            self.session.commit_scalars()
            capture = self.session.next_capture()
            if capture is None or not capture.is_done():
                return
            failure, value = capture.wait()
            if failure:
                self.session.abort(capture, failure)
            else:
                self.session.commit(capture, value)

    def hear(self, message: pb.DaemonMessage) -> None:
        """Takes what the daemon said."""
        kind = message.WhichOneof("message")
        if kind == "acknowledged":
            self.session.acknowledged(message.acknowledged)
        elif kind == "rejected":
            self.session.rejected(message.rejected)
        elif kind == "run_refused":
            self.session.run_refused(message.run_refused)

    # Rules

    def check(self) -> None:
        """What holds between any two actions."""
        counts = self.session.statistics()
        rejected = sum(counts.rejected.values())
        assert counts.accepted == counts.written + rejected + counts.pending, counts
        assert min(counts.written, counts.pending) >= 0, counts
        assert sum(counts.dropped.values()) == self.dropped, counts
        records = self._ledger.of(self.session_id)
        assert counts.accepted == sum(bool(record.content.tag) for record in records), counts
        self._ledger.check_done(record for record in records if self.knows_done(record.sequence))
        assert self.session.acknowledged_sequence <= self.ring.last_sequence

    @property
    def parked(self) -> set[int]:
        """The records that are not done and not in the ring any more."""
        parts = self.session.done.parked.after(0).parts(1 << 20)
        return {frame.sequence for _, frames in parts for frame in decode(frames)}

    def knows_done(self, sequence: int) -> bool:
        """Whether the client takes a record for written or rejected, and lets go of it."""
        done = max(self.session.acknowledged_sequence, self.ring.freed_sequence)
        return sequence <= done and sequence not in self.parked

    def check_drained(self) -> None:
        """What holds once everything is written: all memory is free again."""
        assert self.session.is_drained
        assert self.ring.used_bytes == 0
        assert self.arena.used_bytes == 0
        assert not self.parked
        counts = self.session.statistics()
        assert counts.pending == 0, counts
        last = [r.outcomes[-1] for r in self._ledger.of(self.session_id) if r.content.tag]
        rejected = sum(not outcome.is_written for outcome in last)
        assert sum(counts.rejected.values()) == rejected, (counts, last)
