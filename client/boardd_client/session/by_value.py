"""Sends records by value: frames, and before each frame the tensors it has, in chunks.

For a daemon that does not share the ring. No I/O, no clock, no thread; its
session locks.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from boardd_protos import REVISION
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import Frame, decode, encode, frame_bytes
from boardd_protos.limits import DEFAULT_MESSAGE_BYTES

from boardd_client.memory.ring import Ring
from boardd_client.session.captures import Capture
from boardd_client.session.claims import Claims
from boardd_client.session.losses import Loss, LossReason
from boardd_client.session.plain_scalars import plain_scalar

#: Largest batch of frames or chunk of a tensor in one message.
MESSAGE_BYTES: Final = 1 << 20
#: Sent and not acknowledged, at most (or one record, if that is larger).
WINDOW_BYTES: Final = 64 << 20

_MESSAGE_OVERHEAD_BYTES: Final = 1024


class _Limits(NamedTuple):
    """What the daemon of a connection takes."""

    message_bytes: int = MESSAGE_BYTES  #: that we use, in one message
    max_frame_bytes: int = DEFAULT_MESSAGE_BYTES - _MESSAGE_OVERHEAD_BYTES
    max_tensor_bytes: int = 0  #: of one record; 0: no limit
    revision: int = REVISION  #: see there

    @classmethod
    def of(cls, reply: pb.OpenReply, before: _Limits) -> _Limits:
        """What ``reply`` says; of what it does not say, what held before."""
        if not reply.max_message_bytes:
            return before._replace(max_tensor_bytes=reply.max_tensor_bytes, revision=reply.revision)
        room = reply.max_message_bytes - _MESSAGE_OVERHEAD_BYTES
        return cls(
            max(_MESSAGE_OVERHEAD_BYTES, min(MESSAGE_BYTES, room)),
            max(_MESSAGE_OVERHEAD_BYTES, room),
            reply.max_tensor_bytes,
            reply.revision,
        )

    def refusal(self, frame_bytes: int, tensor_bytes: int) -> Loss | None:
        """Why the daemon would not take such a record at all; None if it would."""
        if frame_bytes > self.max_frame_bytes:
            return Loss(
                LossReason.RECORD_TOO_LARGE,
                f"a frame of {frame_bytes} bytes; the daemon takes {self.max_frame_bytes}",
            )
        if self.max_tensor_bytes and tensor_bytes > self.max_tensor_bytes:
            return Loss(
                LossReason.TENSOR_TOO_LARGE,
                f"{tensor_bytes} bytes; the daemon takes {self.max_tensor_bytes}",
            )
        return None


class _Window:
    """Bytes that were sent and are not acknowledged, against a limit."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._in_flight: deque[tuple[int, int]] = deque()  # last sequence, bytes
        self._in_flight_bytes = 0

    @property
    def is_full(self) -> bool:
        return self._in_flight_bytes >= self._limit_bytes

    def clear(self) -> None:
        self._in_flight.clear()
        self._in_flight_bytes = 0

    def add(self, sequence: int, size_bytes: int) -> None:
        self._in_flight.append((sequence, size_bytes))
        self._in_flight_bytes += size_bytes

    def acknowledged(self, sequence: int) -> None:
        while self._in_flight and self._in_flight[0][0] <= sequence:
            self._in_flight_bytes -= self._in_flight.popleft()[1]


class ByValue:
    """What of ``ring`` and ``claims`` was sent, and what comes next.

    A record that this daemon would not take at all is aborted.
    """

    def __init__(self, ring: Ring, claims: Claims, window_bytes: int = WINDOW_BYTES) -> None:
        self.sent = 0  #: on this connection; the next frame has the next sequence number
        self.highest_sent = 0  #: on any connection
        self.sent_bytes = 0  #: frames and tensors, those sent again included
        self._ring = ring
        self._claims = claims
        self._window = _Window(window_bytes)
        self._limits = _Limits()
        self._chunk = (0, 0)  # tensor and offset that come next, of the first unsent capture
        self._chunk_bytes = 0  # of the record whose chunks are being sent

    @property
    def is_window_full(self) -> bool:
        """Whether nothing more is sent before something is acknowledged."""
        return self._window.is_full

    def begin(self, sent: int, reply: pb.OpenReply) -> None:
        """A new connection goes on behind ``sent``, within the daemon's bounds."""
        self.sent = sent
        self._window.clear()
        self._chunk_bytes = 0
        self._chunk = (0, 0)
        self._claims.send_after(sent)
        self._limits = _Limits.of(reply, self._limits)

    def committed(self, sequence: int) -> None:
        """The daemon may read frames up to ``sequence`` itself: nothing is left to send of them."""
        self.sent = sequence
        self.highest_sent = max(self.highest_sent, sequence)
        self._forget_sent_captures()

    def acknowledged(self, sequence: int) -> None:
        """Everything up to ``sequence`` is done."""
        self._window.acknowledged(sequence)

    def add_messages(self, messages: list[pb.ClientMessage], last: int, max_bytes: int) -> None:
        """Adds what comes next, up to frame ``last`` and about ``max_bytes``; may be nothing."""
        while max_bytes > 0 and self.sent < last and not self.is_window_full:
            added = self._add_message(messages, last, min(max_bytes, self._limits.message_bytes))
            if not added:
                break
            max_bytes -= added

    def _add_message(self, messages: list[pb.ClientMessage], last: int, max_bytes: int) -> int:
        """Adds one message of frames or of a chunk of a tensor; returns its bytes."""
        self._forget_sent_captures()
        if self._claims.unsent:
            following = self._claims.unsent[0]
            capture = self._claims.captures.get(following)
            if capture is None:  # aborted; its frame travels like any other
                self._claims.unsent.popleft()
                return self._add_message(messages, last, max_bytes)
            if following == self.sent + 1:
                if self._ring.is_claimed(following):
                    return 0
                return self._add_chunk(messages, capture, max_bytes)
            last = min(last, following - 1)
        view, sent = self._ring.read(self.sent, last, max_bytes)
        if sent == self.sent:
            return 0
        frames = bytes(view)
        if len(frames) > self._limits.max_frame_bytes:  # one frame, which has been aborted
            frames = _shortened(next(decode(frames)), self._limits.max_frame_bytes)
        messages.append(pb.ClientMessage(records=pb.Records(frames=frames)))
        self._count_sent(sent, len(frames))
        return len(frames)

    def _forget_sent_captures(self) -> None:
        while self._claims.unsent and self._claims.unsent[0] <= self.sent:
            self._claims.unsent.popleft()

    def _add_chunk(self, messages: list[pb.ClientMessage], capture: Capture, max_bytes: int) -> int:
        tensor_bytes = sum(len(slot.view) for slot in capture.slots)
        refusal = self._limits.refusal(self._ring.size_of(capture.sequence), tensor_bytes)
        if refusal is not None:
            # The daemon would end the stream, and every next one.
            self._claims.unsent.popleft()
            self._claims.abort(capture, refusal)
            return self._add_message(messages, capture.sequence, max_bytes)
        if self._limits.revision < 1 and self._chunk == (0, 0):
            frame, sent = self._ring.read(self.sent, capture.sequence, max_bytes)
            plain = plain_scalar(bytes(frame), capture)
            if plain is not None:
                self._claims.unsent.popleft()
                messages.append(pb.ClientMessage(records=pb.Records(frames=plain)))
                self._count_sent(sent, len(plain))
                return len(plain)
        tensor, offset = self._chunk
        while tensor < len(capture.slots) and offset >= len(capture.slots[tensor].view):
            tensor, offset = tensor + 1, 0
        if tensor == len(capture.slots):
            self._claims.unsent.popleft()
            self._chunk = (0, 0)
            frames, sent = self._ring.read(self.sent, capture.sequence, max_bytes)
            messages.append(pb.ClientMessage(records=pb.Records(frames=bytes(frames))))
            self._count_sent(sent, len(frames))
            return len(frames)
        data = bytes(capture.slots[tensor].view[offset : offset + max_bytes])
        chunk = pb.TensorChunk(sequence=capture.sequence, tensor=tensor, offset=offset, data=data)
        messages.append(pb.ClientMessage(chunk=chunk))
        self._chunk = (tensor, offset + len(data))
        self._chunk_bytes += len(data)
        self.sent_bytes += len(data)
        return len(data)

    def _count_sent(self, sequence: int, size_bytes: int) -> None:
        self.sent = sequence
        self.highest_sent = max(self.highest_sent, sequence)
        self.sent_bytes += size_bytes
        # Chunks count from their record's frame on: before, nothing could acknowledge them.
        self._window.add(sequence, size_bytes + self._chunk_bytes)
        self._chunk_bytes = 0


def _shortened(frame: Frame, max_bytes: int) -> bytes:
    """The frame of a lost record, its reason cut to what the daemon takes."""
    payload = frame.payload[: max_bytes - frame_bytes(0)].rstrip()
    return encode(frame._replace(payload=payload.decode(errors="ignore").encode()))
