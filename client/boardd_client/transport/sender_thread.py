"""The one background thread of a process and a daemon's address, and what it does in a round.

It waits for copies to complete, connects, sends what the session says, and takes
memory ahead of its use. It ends when the last writer has released its sender and
everything is written, or when the process ends.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import Final, Protocol

from boardd_protos import tags

from boardd_client.session.captures import Capture
from boardd_client.session.schema import DefinedRun
from boardd_client.session.session import Session
from boardd_client.transport.connection import Events
from boardd_client.transport.connector import Connector
from boardd_client.transport.pace import Pace
from boardd_client.transport.session_memory import SessionMemory
from boardd_client.transport.warn_once import WarnOnce

_logger = logging.getLogger("boardd_client")

#: A wait for a copy that took longer was a real one; send what there is before the next.
_SLOW_WAIT_SECS: Final = 0.001
#: In which a thread ends whose call was cut short.
_INTERRUPTED_SECS: Final = 1.0


class Client(Events, Protocol):
    """Whom the thread works for."""

    @property
    def abandoned(self) -> deque[DefinedRun]:
        """Runs that are to be ended, each of a writer to be released then."""

    def release(self) -> None:
        """One writer less."""

    def retire(self) -> bool:
        """Whether no writer is left and none will come: the thread may end."""


class SenderThread:
    """See the module. Nothing runs before ``start``.

    ``changed`` is notified when the thread ends.
    """

    def __init__(
        self,
        session: Session,
        memory: SessionMemory,
        connector: Connector,
        pace: Pace,
        changed: threading.Condition,
        warn: WarnOnce,
    ) -> None:
        self.finished: Final = threading.Event()
        self._session = session
        self._memory = memory
        self._connector = connector
        self._pace = pace
        self._changed = changed
        self._warn = warn
        self._start_lock = threading.RLock()
        self._thread: threading.Thread | None = None

    def start(self, client: Client) -> None:
        """Starts the thread, once; if the system has none to spare, a later call tries again."""
        if self._thread is None:
            with self._start_lock:
                if self._thread is None and not self._pace.is_stopping:
                    # Only the thread refers to the client, and only while it runs: no cycle
                    # keeps a session's memory.
                    thread = threading.Thread(
                        target=self._run, args=(client,), name="boardd-sender", daemon=True
                    )
                    # The daemon is to hold the log as soon as there is anything in it.
                    ring = self._session.ring
                    ring.notify_backlog(1, self._pace.nudge)
                    if ring.last_sequence:
                        self._pace.nudge()
                    try:
                        thread.start()
                    except RuntimeError as error:
                        self._warn("thread", f"nothing is sent for want of a thread: {error}")
                    else:
                        self._thread = thread

    def stop(self, timeout_secs: float) -> None:
        """Ends the thread, whatever is still to be written; ``pace`` was told to stop.

        Waits for ``timeout_secs``, and for another moment if it had to be interrupted.
        """
        with self._start_lock:
            thread = self._thread
        if thread is None:
            if not self.finished.is_set():
                self._finish()
            return
        thread.join(timeout_secs)
        if thread.is_alive():  # in a call, or in a copy
            self._connector.interrupt()
            thread.join(_INTERRUPTED_SECS)

    def _run(self, client: Client) -> None:
        try:
            is_quiet = False
            while not self._pace.is_stopping:
                is_urgent = self._pace.wait(is_quiet=is_quiet)
                is_quiet = False
                try:
                    self._work(client, is_urgent=is_urgent)
                    if not client.abandoned and client.retire():
                        break
                    is_quiet = self._is_quiet(client)
                except Exception:
                    # A defect must not end the thread that all records depend on.
                    _logger.exception("boardd: the sender failed and goes on")
                    self._connector.begin_anew()
            if self._session.is_drained:
                self._connector.end_session()
        finally:
            self._connector.close()
            self._finish()

    def _is_quiet(self, client: Client) -> bool:
        """Whether nothing is to be done before the next record, which then ends the wait."""
        is_quiet = self._pace.looked(is_idle=self._is_idle(client))
        if is_quiet:
            self._session.ring.notify_backlog(1, self._pace.nudge)
            # What was logged before that nudges nobody.
            is_quiet = self._is_idle(client)
        return is_quiet

    def _is_idle(self, client: Client) -> bool:
        is_connected = self._connector.connection is not None
        return is_connected and self._session.is_drained and not client.abandoned

    def _finish(self) -> None:
        # Else the daemon keeps the memory until this process ends, and writes what is left.
        if self._session.is_drained:
            self._session.release()
            self._memory.release()
        self.finished.set()
        with self._changed:
            self._changed.notify_all()

    def _work(self, client: Client, *, is_urgent: bool) -> None:
        self._session.ring.abort_unfinished()
        self._session.ring.notify_backlog(self._pace.backlog_records, self._pace.nudge)
        while client.abandoned:
            if not self._session.end_run(client.abandoned[0], time.time()):
                break
            client.abandoned.popleft()
            client.release()
        self._connector.update(client)
        self._connector.send()
        self._memory.grow()
        self._complete_captures(is_urgent=is_urgent)
        self._connector.send()
        altered = self._session.outgoing.altered_tag
        if altered:
            self._warn(
                "altered tag",
                f"the daemon is of a version that does not know keep_tags: it writes the tag "
                f"{altered!r} as {tags.clean(altered)!r}, and others that become the same to one "
                "series; upgrade it",
            )

    def _complete_captures(self, *, is_urgent: bool) -> None:
        waited_secs = 0.0
        last = self._session.ring.last_sequence
        while not self._pace.is_stopping:
            failure = self._session.commit_scalars()
            if failure is not None:
                self._warn_lost(str(failure))
            capture = self._session.next_capture()
            # What is logged meanwhile waits for the next round, or this one would never end.
            # Waiting for a value competes with the trainer, so only do it if somebody waits.
            if capture is None or capture.sequence > last:
                break
            if not is_urgent and not capture.is_done():
                break
            if waited_secs > _SLOW_WAIT_SECS:
                self._connector.send()
            begin = time.monotonic()
            self._complete(capture)
            waited_secs = time.monotonic() - begin

    def _complete(self, capture: Capture) -> None:
        failure, value = capture.wait()
        if failure:
            self._session.abort(capture, failure)
            self._warn_lost(failure)
        else:
            self._session.commit(capture, value)

    def _warn_lost(self, failure: str) -> None:
        self._warn("capture", f"a value could not be captured and is lost: {failure}")
