"""The part of a log that keeps the definitions of a session's runs and series.

Entries lie back to back and are never freed: ``boardd_protos.log_file`` has the layout.

No I/O but what ``extend`` does, no clock, no thread. Its session locks.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

_LENGTH: Final = struct.Struct("<I")


class KeptDefinitions:
    """Definitions in ``view``, of which the first ``usable_bytes`` may be written.

    ``used``, a view of one "Q", tells readers how many bytes are whole. ``extend(end)`` is
    called to make ``view`` usable up to ``end``; it returns up to where that is so now.
    """

    def __init__(
        self,
        view: memoryview,
        used: memoryview,
        usable_bytes: int,
        extend: Callable[[int], int],
    ) -> None:
        self._view = view
        self._used = used
        self._usable_bytes = usable_bytes
        self._extend = extend
        self._end = 0
        self.trouble = ""  #: to be told: what was not kept
        self._was_full = False

    def append(self, definition: bytes) -> bool:
        """Keeps a serialized ``Definitions``; returns False if there is no room.

        The first time, ``trouble`` says what that means.
        """
        is_kept = self._append(definition)
        if not is_kept and not self._was_full and len(self._view):
            self._was_full = True
            self.trouble = (
                "no memory to keep more definitions of runs and tags: if this process and the "
                "daemon are killed at once, what is not written of these is lost"
            )
        return is_kept

    def _append(self, definition: bytes) -> bool:
        size_bytes = _LENGTH.size + len(definition)
        end = self._end + size_bytes
        if end > len(self._view):
            return False
        if end > self._usable_bytes:
            self._usable_bytes = max(self._usable_bytes, self._extend(end))
            # A signal handler may have added some in there.
            end = self._end + size_bytes
            if end > self._usable_bytes:
                return False
        start = self._end
        # Taken before it is written, and its length before the rest: if a signal handler adds an
        # entry meanwhile, that goes behind it, and readers find the way there.
        self._end = end
        _LENGTH.pack_into(self._view, start, len(definition))
        self._view[start + _LENGTH.size : end] = definition
        self._used[0] = self._end
        return True

    def release(self) -> None:
        """Lets go of the memory; from then on there is no room."""
        # Even an empty slice would keep all of the memory.
        self._view = self._used = memoryview(b"")
        self._usable_bytes = 0
