"""Sends what is parked to a daemon that does not have it.

Each message says that what is missing between its frames is done; the last one, up to where.

No I/O, no clock, no thread; its session locks.
"""

from __future__ import annotations

from collections.abc import Iterator

from boardd_protos import boardd_pb2 as pb

from boardd_client.session.captures import Capture
from boardd_client.session.claims import Claims
from boardd_client.session.parked import FramesInOrder
from boardd_client.session.plain_scalars import plain_scalar


class Resending:
    """What is left to be sent of ``frames``, up to ``settled_sequence``.

    Tensors travel in chunks before their record's frame unless the daemon ``has_maps``. It
    understands ``revision`` of the protocol.
    """

    def __init__(
        self,
        frames: FramesInOrder,
        settled_sequence: int,
        claims: Claims,
        *,
        has_maps: bool,
        revision: int,
    ) -> None:
        self._frames = frames
        self._settled_sequence = settled_sequence
        self._claims = claims
        self._has_maps = has_maps
        self._revision = revision
        self._messages: Iterator[pb.ClientMessage] | None = None
        self.is_over = False

    def add_messages(self, messages: list[pb.ClientMessage], max_bytes: int) -> None:
        """Adds what comes next, about ``max_bytes``."""
        if self._messages is None:
            self._messages = self._all(max_bytes)
        added = 0
        while added < max_bytes:
            message = next(self._messages, None)
            if message is None:
                self.is_over = True
                return
            messages.append(message)
            added += message.ByteSize()

    def _all(self, message_bytes: int) -> Iterator[pb.ClientMessage]:
        for sequence, frames in self._frames.parts(message_bytes):
            capture = self._claims.captures.get(sequence) if sequence else None
            if capture is not None:
                plain = plain_scalar(frames, capture) if self._revision < 1 else None
                if plain is not None:
                    frames = plain
                elif not self._has_maps:
                    yield from _chunks(capture, message_bytes)
            yield pb.ClientMessage(records=pb.Records(frames=frames, sparse=True))
        records = pb.Records(sparse=True, settled_sequence=self._settled_sequence)
        yield pb.ClientMessage(records=records)


def _chunks(capture: Capture, message_bytes: int) -> Iterator[pb.ClientMessage]:
    for tensor, slot in enumerate(capture.slots):
        for offset in range(0, len(slot.view), message_bytes):
            data = bytes(slot.view[offset : offset + message_bytes])
            chunk = pb.TensorChunk(
                sequence=capture.sequence, tensor=tensor, offset=offset, data=data
            )
            yield pb.ClientMessage(chunk=chunk)
