"""Sends records by value: frames, and before each the tensors it has, in chunks.

For a daemon that does not share the log. No I/O, no clock, no thread; its
session locks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import Frame, decode, encode, frame_bytes
from boardd_protos.limits import DEFAULT_MESSAGE_BYTES

from boardd_client.memory.ring import Ring
from boardd_client.session.captures import Capture

#: Largest stretch of frames or piece of a tensor in one message.
MESSAGE_BYTES: Final = 1 << 20
#: Sent and not acknowledged, at most (or one record, if that is larger).
WINDOW_BYTES: Final = 64 << 20

_MESSAGE_OVERHEAD_BYTES: Final = 1024


class ByValue:
    """What of ``ring`` and ``captures`` was sent, and what comes next.

    ``lose(capture, reason, message)`` is called for a record that this daemon takes
    in no way; it turns into a VOID frame, without slots.
    """

    def __init__(
        self,
        ring: Ring,
        captures: Mapping[int, Capture],
        lose: Callable[[Capture, str, str], None],
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        self.sent = 0  #: on this connection; the next frame has the next sequence number
        self.highest_sent = 0  #: on any connection
        self.sent_bytes = 0  #: frames and tensors, those sent again included
        self._ring = ring
        self._captures = captures
        self._lose = lose
        self._window_bytes = window_bytes
        self._message_bytes = MESSAGE_BYTES
        self._max_frame_bytes = DEFAULT_MESSAGE_BYTES - _MESSAGE_OVERHEAD_BYTES
        self._max_tensor_bytes = 0
        self._unsent_captures: deque[int] = deque()
        self._chunk = (0, 0)  # tensor and offset that come next, of the first unsent capture
        self._in_flight: deque[tuple[int, int]] = deque()  # last sequence, bytes
        self._in_flight_bytes = 0
        self._chunk_bytes = 0  # of the record whose chunks are being sent

    @property
    def is_window_full(self) -> bool:
        """Whether nothing more is sent before something is acknowledged."""
        return self._in_flight_bytes >= self._window_bytes

    def begin(self, sent: int, reply: pb.OpenReply) -> None:
        """A new connection goes on behind ``sent``, within the daemon's bounds."""
        self.sent = sent
        self._in_flight.clear()
        self._in_flight_bytes = 0
        self._chunk_bytes = 0
        self._chunk = (0, 0)
        self._unsent_captures = deque(
            sorted(
                sequence
                for sequence, capture in self._captures.items()
                if sequence > sent and not capture.scalar_dtype
            )
        )
        if reply.max_message_bytes:
            room = reply.max_message_bytes - _MESSAGE_OVERHEAD_BYTES
            self._message_bytes = max(_MESSAGE_OVERHEAD_BYTES, min(MESSAGE_BYTES, room))
            self._max_frame_bytes = max(_MESSAGE_OVERHEAD_BYTES, room)
        self._max_tensor_bytes = reply.max_tensor_bytes

    def add_capture(self, sequence: int) -> None:
        """A record with tensors was appended."""
        unsent = self._unsent_captures
        unsent.append(sequence)
        if len(unsent) > 1 and unsent[-2] > sequence:  # a signal handler's came in between
            self._unsent_captures = deque(sorted(unsent))

    def committed(self, sequence: int) -> None:
        """The daemon may read frames up to ``sequence`` itself: nothing is left to send of them."""
        self.sent = sequence
        self.highest_sent = max(self.highest_sent, sequence)
        self._forget_sent_captures()

    def acknowledged(self, sequence: int) -> None:
        """Everything up to ``sequence`` is done."""
        while self._in_flight and self._in_flight[0][0] <= sequence:
            self._in_flight_bytes -= self._in_flight.popleft()[1]

    def add_messages(self, messages: list[pb.ClientMessage], last: int, max_bytes: int) -> None:
        """Adds what comes next, up to frame ``last`` and about ``max_bytes``; may be nothing."""
        while max_bytes > 0 and self.sent < last and not self.is_window_full:
            added = self._add_message(messages, last, min(max_bytes, self._message_bytes))
            if not added:
                break
            max_bytes -= added

    def _add_message(self, messages: list[pb.ClientMessage], last: int, max_bytes: int) -> int:
        """Adds one message of frames or of a piece of a tensor; returns its bytes."""
        self._forget_sent_captures()
        if self._unsent_captures:
            following = self._unsent_captures[0]
            capture = self._captures.get(following)
            if capture is None:  # voided; its frame travels like any other
                self._unsent_captures.popleft()
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
        if len(frames) > self._max_frame_bytes:  # one frame, which has been voided
            frames = _shortened(next(decode(frames)), self._max_frame_bytes)
        messages.append(pb.ClientMessage(records=pb.Records(frames=frames)))
        self._count_sent(sent, len(frames))
        return len(frames)

    def _forget_sent_captures(self) -> None:
        while self._unsent_captures and self._unsent_captures[0] <= self.sent:
            self._unsent_captures.popleft()

    def _add_chunk(self, messages: list[pb.ClientMessage], capture: Capture, max_bytes: int) -> int:
        refusal = self._refusal(capture)
        if refusal is not None:
            # The daemon would end the stream, and every next one.
            self._unsent_captures.popleft()
            self._lose(capture, *refusal)
            return self._add_message(messages, capture.sequence, max_bytes)
        tensor, offset = self._chunk
        while tensor < len(capture.slots) and offset >= len(capture.slots[tensor].view):
            tensor, offset = tensor + 1, 0
        if tensor == len(capture.slots):
            self._unsent_captures.popleft()
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

    def _refusal(self, capture: Capture) -> tuple[str, str] | None:
        """Why this daemon takes the record in no way: a reason and a text."""
        size_bytes = self._ring.size_of(capture.sequence)
        if size_bytes > self._max_frame_bytes:
            message = f"a frame of {size_bytes} bytes; the daemon takes {self._max_frame_bytes}"
            return "RECORD_TOO_LARGE", message
        total_bytes = sum(len(slot.view) for slot in capture.slots)
        if self._max_tensor_bytes and total_bytes > self._max_tensor_bytes:
            return (
                "TENSOR_TOO_LARGE",
                f"{total_bytes} bytes; the daemon takes {self._max_tensor_bytes}",
            )
        return None

    def _count_sent(self, sequence: int, size_bytes: int) -> None:
        self.sent = sequence
        self.highest_sent = max(self.highest_sent, sequence)
        self.sent_bytes += size_bytes
        # Chunks count from their record's frame on: before, nothing could acknowledge them.
        self._in_flight.append((sequence, size_bytes + self._chunk_bytes))
        self._in_flight_bytes += size_bytes + self._chunk_bytes
        self._chunk_bytes = 0


def _shortened(frame: Frame, max_bytes: int) -> bytes:
    """The frame of a lost record, its reason cut to what the daemon takes."""
    payload = frame.payload[: max_bytes - frame_bytes(0)].rstrip()
    return encode(frame._replace(payload=payload.decode(errors="ignore").encode()))
