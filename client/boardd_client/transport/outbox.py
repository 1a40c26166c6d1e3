"""Messages on their way to the thread that sends them, bounded in bytes."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from boardd_protos import boardd_pb2 as pb

#: Bytes put in and not yet taken, from which on there is no room.
OUTBOX_BYTES: Final = 4 << 20


class Outbox:
    """See the module. Iterate to take messages, waiting for them."""

    def __init__(self, on_room: Callable[[], None], capacity_bytes: int = OUTBOX_BYTES) -> None:
        self._on_room = on_room
        self._capacity_bytes = capacity_bytes
        self._changed = threading.Condition()
        self._messages: deque[pb.ClientMessage] = deque()
        self._held_bytes = 0
        self._was_full = False
        self._is_closed = False
        self.taker: threading.Thread | None = None  #: the thread that takes messages

    def has_room(self) -> bool:
        """Whether another message fits; if not, ``on_room`` is called when it does."""
        with self._changed:
            self._was_full = self._held_bytes >= self._capacity_bytes
            return not self._was_full and not self._is_closed

    def put(self, message: pb.ClientMessage) -> None:
        """Adds a message, also past the capacity."""
        with self._changed:
            self._messages.append(message)
            self._held_bytes += message.ByteSize()
            self._changed.notify()

    def close(self) -> None:
        """Ends the iteration behind what is in it."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[pb.ClientMessage]:
        return self

    def __next__(self) -> pb.ClientMessage:
        self.taker = threading.current_thread()
        with self._changed:
            while not self._messages and not self._is_closed:
                self._changed.wait()
            if not self._messages:
                raise StopIteration
            message = self._messages.popleft()
            self._held_bytes -= message.ByteSize()
            has_room = self._was_full and self._held_bytes < self._capacity_bytes
            if has_room:
                self._was_full = False
        if has_room:
            self._on_room()
        return message
