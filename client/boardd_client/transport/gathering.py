"""Gathers where the runs of a process came from, once, on a thread of its own."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Final

from boardd_client.transport.provenance import provenance

#: The tag of the text.
PROVENANCE_TAG: Final = "boardd/provenance"
#: The longest wait of a writer that closes before all is gathered, in seconds.
FINISH_SECS: Final = 2.0

_logger = logging.getLogger("boardd_client")


class Gathering:
    """What one writer waits for: ``tell`` is called with the text, unless it is over before."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        #: Whoever takes it decides whether the text is told; it is never given back.
        self._decision = threading.Lock()
        self._has_ended = threading.Event()

    def finish(self, timeout_secs: float) -> None:
        """Waits for the end, ``timeout_secs`` at most; what is not gathered then is not told.

        A text that is being told goes on, and a call of ``tell`` that waits holds nothing up.
        """
        self._has_ended.wait(timeout_secs)
        self._decision.acquire(blocking=False)

    def end(self, text: str) -> None:
        """Tells ``text`` unless it is empty, or the gathering over. Raises nothing."""
        try:
            if self._decision.acquire(blocking=False) and text:
                self._tell(text)
        except Exception as error:
            _logger.debug("boardd: where the run came from is not told: %r", error)
        finally:
            self._has_ended.set()


class _Source:
    """A process with ``argv`` in ``directory``, and who waits for its text."""

    def __init__(self, argv: tuple[str, ...], directory: str) -> None:
        self.argv, self.directory = argv, directory
        self.text: str | None = None
        self.waiting: list[Gathering] = []


class Gatherings:
    """The gatherings of one process. Every method may be called from any thread.

    ``describe`` makes the text of a process from its arguments and its directory.
    """

    def __init__(self, describe: Callable[[Sequence[str], str], str] = provenance) -> None:
        self._describe = describe
        self.forget_in_child()

    def forget_in_child(self) -> None:
        """A forked child has none of the parent's threads, and gathers for itself."""
        self._lock = threading.RLock()  # a signal handler may log, too
        self._latest: _Source | None = None
        self._gatherings: weakref.WeakSet[Gathering] = weakref.WeakSet()

    def begin(self, tell: Callable[[str], None]) -> Gathering:
        """Calls ``tell`` with the text: now if it is known, otherwise on another thread.

        The text is that of the first call with the arguments and the directory that the process
        has now. Nothing is told if no thread can be started.
        """
        gathering = Gathering(tell)
        # What the process changes later is not of its beginning.
        argv, directory = tuple(sys.orig_argv), _directory()
        with self._lock:
            self._gatherings.add(gathering)
            source = self._latest
            if source is None or (source.argv, source.directory) != (argv, directory):
                source = self._latest = _Source(argv, directory)
                if not self._start(source):
                    self._latest, source.text = None, ""
            text = source.text
            if text is None:
                source.waiting.append(gathering)
        if text is not None:
            gathering.end(text)
        return gathering

    def finish_all(self, timeout_secs: float) -> None:
        """Waits for all that are under way, ``timeout_secs`` at most for all together."""
        deadline = time.monotonic() + timeout_secs
        with self._lock:
            gatherings = list(self._gatherings)
        for gathering in gatherings:
            gathering.finish(max(0.0, deadline - time.monotonic()))

    def _start(self, source: _Source) -> bool:
        thread = threading.Thread(
            target=self._gather, args=(source,), name="boardd-provenance", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:  # too many threads, or the interpreter ends
            _logger.debug("boardd: where the run came from is not gathered: %s", error)
            return False
        return True

    def _gather(self, source: _Source) -> None:
        try:
            text = self._describe(source.argv, source.directory)
        except Exception as error:
            _logger.debug("boardd: where the run came from is not known: %r", error)
            text = ""
        with self._lock:
            source.text = text
            waiting, source.waiting = source.waiting, []
        for gathering in waiting:
            gathering.end(text)


def _directory() -> str:
    """The current one; empty if it was removed."""
    try:
        return os.getcwd()
    except OSError:
        return ""


gatherings: Final = Gatherings()
