"""Lets go of memory that clients share, beside the event loop.

Whoever drops the last reference to memory waits until the system has taken it back: a tenth
of a second or more for a gigabyte. When a client has died, that is the daemon. So what is not
small is let go of on a thread of its own, which there is while there is something to do.
"""

from __future__ import annotations

import functools
import mmap
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

#: What is no larger is let go of at once.
SMALL_BYTES: Final = 64 << 10
#: Of ``st_blocks``.
_BLOCK_BYTES: Final = 512
#: Pause before memory is looked at again that a view of it is just leaving.
_PAUSE_SECS: Final = 0.001


def close(fd: int) -> None:
    """Closes ``fd``, soon. Any thread may call."""
    try:
        is_small = os.fstat(fd).st_blocks * _BLOCK_BYTES <= SMALL_BYTES
    except OSError:
        is_small = True
    if is_small:
        os.close(fd)
    else:
        _letting_go.add(functools.partial(os.close, fd))


def close_socket(peer: socket.socket) -> None:
    """Closes ``peer``, soon: descriptors that nobody has taken out of it go with it."""
    _letting_go.add(peer.close)


def unmap(mapped: mmap.mmap) -> None:
    """Unmaps ``mapped``, soon, of which the last view is just leaving. Any thread may call."""
    if len(mapped) > SMALL_BYTES:
        _letting_go.add(functools.partial(_unmap, mapped))


def _unmap(mapped: mmap.mmap) -> None:
    while True:
        try:
            mapped.close()
        except BufferError:  # the view has told that it leaves, and is still there
            time.sleep(_PAUSE_SECS)
        else:
            return


class _LettingGo:
    """Makes calls on one thread, one after the other."""

    def __init__(self) -> None:
        # What is let go of may be let go of by the garbage collector, in the middle of ``add``.
        self._lock = threading.RLock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._is_working = False

    def add(self, call: Callable[[], None]) -> None:
        """Makes ``call``, soon."""
        with self._lock:
            self._waiting.append(call)
            if self._is_working:
                return
            self._is_working = True
        try:
            threading.Thread(target=self._work, name="boardd-let-go", daemon=True).start()
        except RuntimeError:  # the system has none to spare, or the interpreter ends
            self._work()

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._is_working = False
                    return
                call = self._waiting.popleft()
            call()
            del call


_letting_go: Final = _LettingGo()
