"""Lets go of memory that clients share, beside the event loop.

Whoever drops the last reference to memory waits until the system has taken it back: a tenth
of a second or more for a gigabyte. When a client has died, that is the daemon. So what is not
small is let go of on a thread of its own, which there is while there is something to do.
"""

from __future__ import annotations

import functools
import logging
import mmap
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

_logger = logging.getLogger(__name__)

#: What is no larger is let go of at once.
SMALL_BYTES: Final = 64 << 10
#: Of ``st_blocks``.
_BLOCK_BYTES: Final = 512
#: Pause before memory is looked at again that a view of it is just leaving.
_PAUSE_SECS: Final = 0.001
#: How often it is looked at. Whoever has a view that stays unmaps it with that.
_LOOKS: Final = 1000


def close(fd: int) -> None:
    """Closes ``fd``, soon. Any thread may call."""
    try:
        is_small = os.fstat(fd).st_blocks * _BLOCK_BYTES <= SMALL_BYTES
    except OSError:
        is_small = True
    if is_small:
        os.close(fd)
    else:
        _letting_go.add(functools.partial(os.close, fd), is_descriptor=True)


def close_socket(peer: socket.socket) -> None:
    """Closes ``peer``, soon: descriptors that nobody has taken out of it go with it."""
    _letting_go.add(peer.close, is_descriptor=True)


def unmap(mapped: mmap.mmap) -> None:
    """Unmaps ``mapped``, soon, of which the last view is just leaving. Any thread may call."""
    if len(mapped) > SMALL_BYTES:
        _letting_go.add(mapped.close)


class _LettingGo:
    """Makes calls on one thread, one after the other: those for descriptors first.

    Few descriptors may be open, and a peer waits for the end of its socket. A call that raises
    ``BufferError`` is made again, as a view has told that it leaves and is still there.
    """

    def __init__(self) -> None:
        # What is let go of may be let go of by the garbage collector, in the middle of ``add``.
        self._lock = threading.RLock()
        self._descriptors: deque[Callable[[], None]] = deque()
        self._maps: deque[Callable[[], None]] = deque()
        self._is_working = False

    def add(self, call: Callable[[], None], *, is_descriptor: bool = False) -> None:
        """Makes ``call``, soon."""
        with self._lock:
            (self._descriptors if is_descriptor else self._maps).append(call)
            if self._is_working:
                return
            self._is_working = True
        try:
            threading.Thread(
                target=self._work, args=(_LOOKS,), name="boardd-let-go", daemon=True
            ).start()
        except RuntimeError:  # the system has none to spare, or the interpreter ends
            # The view that leaves is the caller's, perhaps: it cannot be waited for.
            self._work(looks=1)

    def _work(self, looks: int) -> None:
        while True:
            with self._lock:
                calls = self._descriptors or self._maps
                if not calls:
                    self._is_working = False
                    return
                call = calls.popleft()
            _make(call, looks)
            del call


def _make(call: Callable[[], None], looks: int) -> None:
    for look in range(looks):
        if look:
            time.sleep(_PAUSE_SECS)
        try:
            call()
        except BufferError:
            continue
        except Exception:  # the others are let go of all the same
            _logger.exception("memory or a descriptor cannot be let go of")
        return


_letting_go: Final = _LettingGo()
