"""The client's side of a session: what is defined, sent, acknowledged, lost.

A state machine without I/O. A sender tells it what happened (``opened``,
``acknowledged``, ``rejected``, ``run_refused``, ``disconnected``) and asks what
to send (``next_messages``). Trainers define series and begin captures; scalars
they append to ``log`` directly.

Records go from *appended* to *observed* (kept for export), *sent*, and
*acknowledged*, each a sequence number that never passes the one before. A new
connection sets *sent* back to what the daemon received; nothing is freed before
it is acknowledged, so everything behind can be sent again.

Sent in this order: definitions, drop counts, and then records, each tensor in
chunks before its record's frame.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from boardd_protos import MAX_PROTOCOL_VERSION, MIN_PROTOCOL_VERSION, __version__
from boardd_protos import boardd_pb2 as pb
from boardd_protos.record import Frame, Kind, decode, encode, frame_bytes

from boardd_client.accounts import Accounts, Rejection, Statistics, reason_name
from boardd_client.arena import Arena, Slot
from boardd_client.capture import Pending
from boardd_client.capture.host import element
from boardd_client.definitions import Definitions, Run
from boardd_client.log import RecordLog
from boardd_client.scalars_export import Exported, ScalarHistory

#: Largest stretch of frames or piece of a tensor in one message.
MESSAGE_BYTES: Final = 1 << 20
#: Sent and not acknowledged, at most (or one record, if that is larger).
WINDOW_BYTES: Final = 64 << 20

_MESSAGE_OVERHEAD_BYTES: Final = 1024
#: What any daemon that does not say takes in one message.
_DEFAULT_MESSAGE_BYTES: Final = 4 << 20


@dataclass
class Capture:
    """A record whose tensors are being copied; ``pendings`` is None until that has begun."""

    sequence: int
    slots: tuple[Slot, ...]
    scalar_dtype: str = ""  #: of the one element, where the record is a lazy scalar
    pendings: list[Pending] | None = None


class Session:
    """See the module. Every method may be called from any thread."""

    def __init__(
        self,
        session_id: bytes,
        log: RecordLog,
        arena: Arena,
        *,
        history: ScalarHistory | None = None,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self.session_id: Final = session_id
        self.log: Final = log
        self.arena: Final = arena
        self.refusal = ""  #: why the daemon will not have this session, if so
        self._history = history or ScalarHistory(0)
        self._window_bytes = window_bytes
        # The log's: with two locks, a signal handler that interrupts a call in one of them could
        # wait for the other for ever.
        self._lock = log.lock
        self._is_open = False
        self._message_bytes = MESSAGE_BYTES
        self._max_frame_bytes = _DEFAULT_MESSAGE_BYTES - _MESSAGE_OVERHEAD_BYTES
        self._max_tensor_bytes = 0
        self._observed = 0
        self._sent = 0
        self._acknowledged = 0
        self._definitions = Definitions()
        self._accounts = Accounts()
        self._captures: OrderedDict[int, Capture] = OrderedDict()
        self._unsent_captures: deque[int] = deque()
        self._chunk = (0, 0)  # tensor and offset that come next, of the first unsent capture
        self._highest_sent = 0  # on any connection
        self._in_flight: deque[tuple[int, int]] = deque()  # last sequence, bytes
        self._in_flight_bytes = 0
        self._chunk_bytes = 0  # of the record whose chunks are being sent
        self._sent_bytes = 0

    # For trainers

    def define_run(self, definition: pb.RunDefinition) -> Run:
        """Adds a run; sets its number in ``definition``."""
        with self._lock:
            return self._definitions.add_run(definition)

    def define_series(self, run: Run, tag: str, sub_run: str = "") -> int:
        """Adds a series to a run and returns its number; 0 when there are too many."""
        with self._lock:
            return self._definitions.add_series(run, tag, sub_run)

    def end_run(self, run: Run, wall_time: float) -> int:
        """Appends the end of a run and returns its sequence number, 0 if the log is full."""
        with self._lock:
            sequence = self.log.append(Kind.END_RUN, run.number, 0, wall_time, reserved=True)
            if sequence:
                self._accounts.add_end(sequence, run.number)
            return sequence

    def drop(self, reason: str, size_bytes: int = 0) -> int:
        """Counts a record that was not accepted; returns how many there are of that reason."""
        with self._lock:
            return self._accounts.drop(reason, size_bytes)

    def begin(
        self,
        series: int,
        step: int,
        wall_time: float,
        payload: bytes,
        sizes: Iterable[int],
        *,
        scalar_dtype: str = "",
    ) -> Capture | str:
        """Appends a pending record with slots for its tensors.

        Returns why not where there is no room: ``log_full`` or ``arena_full``; and where
        there never is, ``record_too_large`` or ``tensor_too_large``. With
        ``scalar_dtype`` it becomes a scalar, of the one element of the one tensor.
        ``captured`` or ``failed`` must follow.
        """
        is_scalar = bool(scalar_dtype)
        if frame_bytes(len(payload)) > self.log.largest_frame_bytes:
            return "record_too_large"
        sizes = list(sizes)
        slots: list[Slot] = []
        reason = ""
        for size_bytes in sizes:
            slot = self.arena.allocate(size_bytes, reserved=is_scalar)
            if slot is None:
                too_large = not is_scalar and not self.arena.may_fit(sizes)
                reason = "tensor_too_large" if too_large else "arena_full"
                break
            slots.append(slot)
        if not reason:
            kind = Kind.SCALAR if is_scalar else Kind.SUMMARY
            with self._lock:
                sequence = self.log.append(
                    kind, series, step, wall_time, payload, pending=True, reserved=is_scalar
                )
                if sequence:
                    capture = Capture(sequence, tuple(slots), scalar_dtype)
                    self._captures[sequence] = capture
                    if not is_scalar:
                        self._unsent_captures.append(sequence)
                    return capture
            reason = "log_full"
        for slot in slots:
            self.arena.free(slot)
        return reason

    def captured(self, capture: Capture, pendings: list[Pending]) -> None:
        """The copies were started; those in ``pendings`` are still under way."""
        with self._lock:
            capture.pendings = pendings
            if not pendings:
                self.resolved(capture)

    # For the sender

    def next_capture(self) -> Capture | None:
        """The oldest capture that is still under way, once it has begun."""
        with self._lock:
            sequence = self.log.first_pending()
            capture = None if sequence is None else self._captures.get(sequence)
            return None if capture is None or capture.pendings is None else capture

    def resolved(self, capture: Capture) -> None:
        """All copies of a capture are complete."""
        with self._lock:
            if not capture.scalar_dtype:
                self.log.complete(capture.sequence)
                return
            value = element(capture.slots[0].view, capture.scalar_dtype)
            self.log.complete_scalar(capture.sequence, value)
            self._free(capture)

    def failed(self, capture: Capture, message: str) -> None:
        """A copy failed and none is under way any more: the record is lost, and rejected."""
        self._void(capture, "CAPTURE_FAILED", message)

    def opened(self, reply: pb.OpenReply) -> None:
        """A connection was made, and the daemon said what it has."""
        with self._lock:
            self.refusal = ""
            self._in_flight.clear()
            self._in_flight_bytes = 0
            self._chunk_bytes = 0
            self._acknowledge(reply.written_sequence)
            received = min(reply.received_sequence, self._highest_sent)
            self._sent = max(self._acknowledged, received)
            self._accounts.resume(self._sent)
            self._definitions.tell_all()
            self._unsent_captures = deque(
                sequence
                for sequence, capture in self._captures.items()
                if sequence > self._sent and not capture.scalar_dtype
            )
            self._chunk = (0, 0)
            if reply.max_message_bytes:
                room = reply.max_message_bytes - _MESSAGE_OVERHEAD_BYTES
                self._message_bytes = max(_MESSAGE_OVERHEAD_BYTES, min(MESSAGE_BYTES, room))
                self._max_frame_bytes = max(_MESSAGE_OVERHEAD_BYTES, room)
            self._max_tensor_bytes = reply.max_tensor_bytes
            self._is_open = True

    def disconnected(self) -> None:
        """The connection is gone."""
        with self._lock:
            self._is_open = False

    def refused(self, message: str) -> None:
        """The daemon will not have this session; trying again will not help soon."""
        with self._lock:
            self.refusal = message

    def acknowledged(self, sequence: int) -> None:
        """Everything up to a sequence number is written or was rejected."""
        with self._lock:
            self._acknowledge(sequence)

    def rejected(self, message: pb.Rejected) -> Run | None:
        """Records were rejected one by one; returns the run of the first."""
        with self._lock:
            if message.reason == pb.CAPTURE_FAILED:
                return None  # noted where it failed
            run = self._run_of(message.sequence)
            records = max(message.records, 1)
            last = min(message.sequence + records - 1, self.log.last_sequence)
            reason = reason_name(message.reason)
            self._accounts.add_rejection(
                Rejection(message.sequence, last, records, reason, message.message, run)
            )
            self._settle()
            return run

    def run_refused(self, message: pb.RunRefused) -> Run | None:
        """The daemon writes none of a run; returns the run, unless it is over."""
        with self._lock:
            run = self._definitions.run(message.run)
            if run is not None:
                run.refusal = f"{reason_name(message.reason)}: {message.message}"
            return run

    def next_messages(self, max_bytes: int = MESSAGE_BYTES) -> list[pb.ClientMessage]:
        """What to send next, ``max_bytes`` of frames and tensors at most; may be nothing."""
        messages: list[pb.ClientMessage] = []
        with self._lock:
            if not self._is_open:
                return messages
            # Before the definitions: those of a record are made before it.
            last = self.log.last_sequence
            self._observe(max_bytes)
            for definitions in self._definitions.untold():
                messages.append(pb.ClientMessage(definitions=definitions))
            report = self._accounts.report()
            if report is not None:
                messages.append(pb.ClientMessage(report=report))
            last = min(last, self._observed) if self._history.is_enabled else last
            budget = max_bytes
            while budget > 0 and self._sent < last:
                if self._in_flight_bytes >= self._window_bytes:
                    break
                added = self._add_records(messages, last, min(budget, self._message_bytes))
                if not added:
                    break
                budget -= added
        return messages

    def open_request(self, hostname: str, pid: int, program: str) -> pb.OpenRequest:
        """The message that begins or resumes this session."""
        with self._lock:
            return pb.OpenRequest(
                min_protocol_version=MIN_PROTOCOL_VERSION,
                max_protocol_version=MAX_PROTOCOL_VERSION,
                session_id=self.session_id,
                acknowledged_sequence=self._acknowledged,
                hostname=hostname,
                pid=pid,
                program=program,
                client_version=__version__,
            )

    # For anyone

    @property
    def acknowledged_sequence(self) -> int:
        """Records up to this one are written or rejected."""
        return self._acknowledged

    @property
    def is_window_full(self) -> bool:
        """Whether nothing more is sent before something is acknowledged."""
        return self._in_flight_bytes >= self._window_bytes

    @property
    def is_drained(self) -> bool:
        """Whether nothing is left to be written."""
        return self._acknowledged >= self.log.last_sequence

    def statistics(self) -> Statistics:
        """A snapshot of the counts."""
        with self._lock:
            return self._accounts.statistics(
                self.log.last_sequence,
                self._acknowledged,
                sent_bytes=self._sent_bytes,
                log=(self.log.used_bytes, self.log.size_bytes),
                arena=(self.arena.used_bytes, self.arena.size_bytes),
            )

    def export_scalars(self, names: Mapping[int, str]) -> tuple[Exported, int]:
        """The scalars of the series in ``names``, and how many of any series are lost.

        Ends before the first record that is still being captured.
        """
        with self._lock:
            while self._observe(MESSAGE_BYTES):
                pass
            return self._history.export(names), self._history.lost

    def clear_scalars(self, series: Iterable[int]) -> None:
        """Forgets what ``export_scalars`` would return for some series."""
        with self._lock:
            while self._observe(MESSAGE_BYTES):
                pass
            self._history.clear(series)

    # Parts

    def _observe(self, max_bytes: int) -> bool:
        if not self._history.is_enabled:
            self._observed = self.log.last_sequence
            return False
        frames, last = self.log.read(self._observed, self.log.last_sequence, max_bytes)
        if last == self._observed:
            return False
        self._history.observe(frames, last - self._observed)
        self._observed = last
        return True

    def _add_records(self, messages: list[pb.ClientMessage], last: int, max_bytes: int) -> int:
        """Adds one message of frames or of a piece of a tensor; returns its bytes."""
        while self._unsent_captures and self._unsent_captures[0] <= self._sent:
            self._unsent_captures.popleft()
        if self._unsent_captures:
            following = self._unsent_captures[0]
            capture = self._captures.get(following)
            if capture is None:  # voided; its frame travels like any other
                self._unsent_captures.popleft()
                return self._add_records(messages, last, max_bytes)
            if following == self._sent + 1:
                if self.log.is_pending(following):
                    return 0
                return self._add_chunk(messages, capture, max_bytes)
            last = min(last, following - 1)
        view, sent = self.log.read(self._sent, last, max_bytes)
        if sent == self._sent:
            return 0
        frames = bytes(view)
        if len(frames) > self._max_frame_bytes:  # one frame, which has been voided
            frames = _shortened(next(decode(frames)), self._max_frame_bytes)
        messages.append(pb.ClientMessage(records=pb.Records(frames=frames)))
        self._count_sent(sent, len(frames))
        return len(frames)

    def _add_chunk(self, messages: list[pb.ClientMessage], capture: Capture, max_bytes: int) -> int:
        size_bytes = self.log.size_of(capture.sequence)
        if size_bytes > self._max_frame_bytes:
            # The daemon would end the stream, and every next one.
            self._unsent_captures.popleft()
            message = f"a frame of {size_bytes} bytes; the daemon takes {self._max_frame_bytes}"
            self._void(capture, "RECORD_TOO_LARGE", message)
            return self._add_records(messages, capture.sequence, max_bytes)
        total_bytes = sum(len(slot.view) for slot in capture.slots)
        if self._max_tensor_bytes and total_bytes > self._max_tensor_bytes:
            self._unsent_captures.popleft()
            message = f"{total_bytes} bytes; the daemon takes {self._max_tensor_bytes}"
            self._void(capture, "TENSOR_TOO_LARGE", message)
            return self._add_records(messages, capture.sequence, max_bytes)
        tensor, offset = self._chunk
        while tensor < len(capture.slots) and offset >= len(capture.slots[tensor].view):
            tensor, offset = tensor + 1, 0
        if tensor == len(capture.slots):
            self._unsent_captures.popleft()
            self._chunk = (0, 0)
            frames, sent = self.log.read(self._sent, capture.sequence, max_bytes)
            messages.append(pb.ClientMessage(records=pb.Records(frames=bytes(frames))))
            self._count_sent(sent, len(frames))
            return len(frames)
        data = bytes(capture.slots[tensor].view[offset : offset + max_bytes])
        chunk = pb.TensorChunk(sequence=capture.sequence, tensor=tensor, offset=offset, data=data)
        messages.append(pb.ClientMessage(chunk=chunk))
        self._chunk = (tensor, offset + len(data))
        self._chunk_bytes += len(data)
        self._sent_bytes += len(data)
        return len(data)

    def _count_sent(self, sequence: int, size_bytes: int) -> None:
        self._sent = sequence
        self._highest_sent = max(self._highest_sent, sequence)
        self._sent_bytes += size_bytes
        # Chunks count from their record's frame on: before, nothing could acknowledge them.
        self._in_flight.append((sequence, size_bytes + self._chunk_bytes))
        self._in_flight_bytes += size_bytes + self._chunk_bytes
        self._chunk_bytes = 0

    def _acknowledge(self, sequence: int) -> None:
        sequence = min(sequence, self._highest_sent)
        if sequence <= self._acknowledged:
            return
        self._acknowledged = sequence
        while self._in_flight and self._in_flight[0][0] <= sequence:
            self._in_flight_bytes -= self._in_flight.popleft()[1]
        while self._captures:
            first = next(iter(self._captures))
            if first > sequence:
                break
            self._free(self._captures[first])
        self._settle()
        self.log.free(sequence)

    def _settle(self) -> None:
        for run in self._accounts.settle(self._acknowledged):
            self._definitions.remove_run(run)

    def _void(self, capture: Capture, reason: str, message: str) -> None:
        with self._lock:
            run = self._run_of(capture.sequence)
            self.log.void(capture.sequence, message)
            self._free(capture)
            sequence = capture.sequence
            self._accounts.add_rejection(
                Rejection(sequence, sequence, 1, reason, message, run, is_local=True)
            )

    def _free(self, capture: Capture) -> None:
        del self._captures[capture.sequence]
        for slot in capture.slots:
            self.arena.free(slot)

    def _run_of(self, sequence: int) -> Run | None:
        return self._definitions.run_of(self.log.series_of(sequence) or 0)


def _shortened(frame: Frame, max_bytes: int) -> bytes:
    """The frame of a lost record, its reason cut to what the daemon takes."""
    payload = frame.payload[: max_bytes - frame_bytes(0)].rstrip()
    return encode(frame._replace(payload=payload.decode(errors="ignore").encode()))
