"""The one background thread of a process and a daemon's address.

It waits for copies to complete, connects, sends what the session says, and
connects again when the connection breaks. Trainers do not wake it for each
record: it looks every ``SEND_INTERVAL_SECS``, and sooner when enough has
gathered or somebody waits. Nothing in here raises in training code.

``registry`` keeps the senders. The thread ends when the last writer has released
its sender and everything is written.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import secrets
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import Address, UnixAddress
from boardd_protos.reasons import reason_name

from boardd_client.environment import Settings
from boardd_client.errors import AutostartError
from boardd_client.session.captures import Capture
from boardd_client.session.scalar_history import ScalarHistory
from boardd_client.session.schema import DefinedRun
from boardd_client.session.session import Session
from boardd_client.transport import autostart
from boardd_client.transport.connection import Connection, ConnectionFailedError, Events, Link
from boardd_client.transport.session_memory import SessionMemory
from boardd_client.transport.wakeup import Wakeup

logger = logging.getLogger("boardd_client")

#: A record is sent at the latest so long after it was logged, if nothing is in the way.
SEND_INTERVAL_SECS: Final = 0.1
_LEAST_INTERVAL_SECS: Final = 0.02
#: Between sends that nobody waits for: many small batches cost more than few large ones.
_BACKLOG_INTERVAL_SECS: Final = 0.05

_OPEN_TIMEOUT_SECS: Final = 5.0
_END_TIMEOUT_SECS: Final = 5.0
_LAUNCH_TIMEOUT_SECS: Final = 60.0
_FIRST_RETRY_SECS: Final = 0.05
_LAST_RETRY_SECS: Final = 1.0
_RETRY_REFUSED_SECS: Final = 5.0
_LAUNCH_AGAIN_SECS: Final = 5.0
#: A wait for a copy that took longer was a real one; send what there is before the next.
_SLOW_WAIT_SECS: Final = 0.001

#: Codes after which trying again soon is pointless.
_REFUSALS: Final = (
    "FAILED_PRECONDITION",
    "INVALID_ARGUMENT",
    "PERMISSION_DENIED",
    "UNAUTHENTICATED",
    "UNIMPLEMENTED",
)

Connect = Callable[["Sender", Events], Connection]


class Owner(Protocol):
    """Who counts the writers of a sender."""

    def release(self, sender: Sender) -> None:
        """One writer less."""

    def retire(self, sender: Sender) -> bool:
        """Whether no writer is left and none will come: the sender may end."""


class Sender:
    """See the module. ``connect`` makes connections; nothing runs before ``start``."""

    def __init__(
        self, address: Address, settings: Settings, connect: Connect, owner: Owner
    ) -> None:
        self.address: Final = address
        self.settings: Final = settings
        self.users = 0  #: writers; guarded by the owner's lock
        #: Runs of writers that were collected as garbage. A finalizer may run anywhere, also in
        #: this module's locks, so it may do no more than append here.
        self.abandoned: deque[DefinedRun] = deque()
        # One lock for all: a wait on the condition then gives it up entirely, also in a signal
        # handler that interrupted a call which holds it.
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        session_id = secrets.token_bytes(16)
        self._memory = SessionMemory(address, settings, session_id, lock)
        self.session: Final = Session(
            session_id,
            self._memory.ring,
            self._memory.arena,
            history=ScalarHistory(settings.scalar_history_bytes),
            arena_offset=self._memory.arena_offset,
            large=self._memory.large,
        )
        self._connect = connect
        self._owner = owner
        self._wakeup = Wakeup()
        self._is_urgent = False
        self._interval_secs = SEND_INTERVAL_SECS
        self._backlog_records = 0
        self._connection: Connection | None = None
        self._opening: Connection | None = None
        self._link: Link | None = None
        self._is_held_up = False
        self._is_draining = False  # the daemon has said that it leaves
        self._ended: ConnectionFailedError | None = None
        self._opened_at = 0.0
        self._retry_at = 0.0
        self._retry_secs = _FIRST_RETRY_SECS
        self._launch_at = 0.0
        self._trouble = ""
        self._warned: set[str] = set()
        self._start_lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._is_stopping = False
        self.finished: Final = threading.Event()

    # For trainers

    def start(self) -> None:
        """Starts the thread, once; where the system has none to spare, a later call tries again."""
        if self._thread is None:
            with self._start_lock:
                if self._thread is None:
                    thread = threading.Thread(target=self._run, name="boardd-sender", daemon=True)
                    try:
                        thread.start()
                    except RuntimeError as error:
                        self._warn("thread", f"nothing is sent for want of a thread: {error}")
                    else:
                        self._thread = thread

    def pace(self, *, max_queue: int, flush_secs: float) -> None:
        """Sends sooner than usual, as the most impatient writer wishes. 0 records: never mind."""
        self._interval_secs = max(_LEAST_INTERVAL_SECS, min(self._interval_secs, flush_secs))
        if max_queue:
            self._backlog_records = min(self._backlog_records or max_queue, max_queue)

    def wake(self) -> None:
        """Has the thread look at once."""
        if self._thread is None:
            self.start()
        self._is_urgent = True
        self._wakeup.ring()

    def wait_written(self, sequence: int, deadline: float, run: DefinedRun | None = None) -> bool:
        """Waits until records up to ``sequence`` are written or rejected, or it is hopeless.

        ``deadline`` is one of ``time.monotonic``. Hopeless is a session or ``run``
        that the daemon refuses.
        """
        session = self.session
        with self._changed:
            while session.acknowledged_sequence < sequence:
                remaining = deadline - time.monotonic()
                hopeless = session.refusal or (run is not None and run.refusal)
                if self.finished.is_set():  # at the process's end; a run's end may be left over
                    return session.statistics().pending == 0
                if hopeless or remaining <= 0:
                    return False
                self.wake()
                self._changed.wait(min(remaining, 1.0))
        return True

    def wait_room(self, deadline: float) -> bool:
        """Waits until something was acknowledged, a second at most; False past the deadline."""
        remaining = deadline - time.monotonic()
        if remaining <= 0 or self.finished.is_set():
            return False
        self.wake()
        with self._changed:
            self._changed.wait(min(remaining, SEND_INTERVAL_SECS))
        return True

    def wait_captured(self, deadline: float) -> bool:
        """Waits until no value that was logged is still being copied."""
        while not self.is_captured:
            if time.monotonic() >= deadline or self.finished.is_set():
                return False
            self.wake()
            with self._changed:
                self._changed.wait(_LEAST_INTERVAL_SECS)
        return True

    @property
    def is_captured(self) -> bool:
        """Whether no value that was logged is still being copied."""
        return self.session.ring.first_claimed() is None

    def wait_finished(self, timeout_secs: float) -> None:
        """Waits until the thread has ended, so many seconds at most."""
        with self._changed:
            self._changed.wait_for(self.finished.is_set, timeout_secs)

    def sync(self, sequence: int, deadline: float) -> str:
        """Waits until written records are synced; returns why they are not, or nothing."""
        while True:
            remaining = deadline - time.monotonic()
            connection = self._connection
            if remaining <= 0 or self.session.refusal or self.finished.is_set():
                return self.why_not()
            if connection is None:
                self.wait_room(deadline)
                continue
            request = pb.FlushRequest(
                session_id=self.session.session_id,
                sequence=sequence,
                level=pb.SYNCED,
                timeout_secs=remaining,
            )
            try:
                reply = connection.flush(request)
            except ConnectionFailedError:
                self.wait_room(deadline)  # it will be another connection's
                continue
            return "" if reply.reached else reply.message or "not synced"

    def why_not(self) -> str:
        """Why records are not written yet, for people."""
        if self.session.refusal or self._connection is None:
            reason = self.session.refusal or self._trouble
            return reason or f"no connection to {self.address} yet"
        return f"the daemon at {self.address} has not written them in time"

    def stop(self, timeout_secs: float) -> None:
        """Ends the thread and the connection, whatever is still to be written."""
        self._is_stopping = True
        self.wake()
        if self._thread is None:
            return
        self._thread.join(timeout_secs)
        if self._thread.is_alive():  # in a call, in a copy, or in the daemon's start
            for connection in filter(None, (self._opening, self._connection)):
                connection.close()
            self._thread.join(timeout_secs)

    def forget_in_child(self) -> None:
        """In a forked child: lets go of what keeps the parent's session alive."""
        self._memory.close()

    # On the connection's threads

    def on_message(self, message: pb.DaemonMessage) -> None:
        """See ``Events``."""
        kind = message.WhichOneof("message")
        if kind == "acknowledged":
            self.session.acknowledged(message.acknowledged.written_sequence)
        elif kind == "rejected":
            rejected = message.rejected
            run = self.session.rejected(rejected)
            if rejected.reason not in (pb.CAPTURE_FAILED, pb.RUN_REFUSED):
                self._warn(
                    f"{run.number if run else ''} {rejected.reason}",
                    f"the daemon rejected a record of {_run_name(run)}: "
                    f"{reason_name(rejected.reason)}: {rejected.message} (the next like it are "
                    "only counted)",
                )
        elif kind == "run_refused":
            run = self.session.run_refused(message.run_refused)
            if run is not None:
                text = f"the daemon refuses {_run_name(run)}: {run.refusal}"
                self._warn(text, text)
        elif kind == "draining":
            self._is_draining = True
        with self._changed:
            self._changed.notify_all()
        # The window was full, or the end waits for the last acknowledgement.
        if self._is_held_up or (self.users == 0 and self.session.is_drained):
            self.wake()

    def on_room(self) -> None:
        """See ``Events``."""
        self.wake()

    def on_end(self, error: ConnectionFailedError) -> None:
        """See ``Events``."""
        self._ended = error
        self.wake()

    # On the sender's thread

    def _run(self) -> None:
        try:
            last = 0.0
            while not self._is_stopping:
                self._wakeup.wait(self._interval_secs)
                pause = last + min(self._interval_secs, _BACKLOG_INTERVAL_SECS) - time.monotonic()
                if pause > 0 and not self._is_urgent:
                    time.sleep(pause)
                is_urgent, self._is_urgent = self._is_urgent, False
                last = time.monotonic()
                try:
                    self._step(is_urgent)
                    if not self.abandoned and self._owner.retire(self):
                        break
                except Exception:
                    # A defect must not end the thread that all records depend on.
                    logger.exception("boardd's sender failed and goes on")
                    self._disconnect()
                    self._retry_at = time.monotonic() + _LAST_RETRY_SECS
            if self.session.is_drained:
                self._end_session()
        finally:
            self._disconnect()
            # Else the daemon keeps the memory until this process ends, and writes what is left.
            if self.session.is_drained:
                self.session.release()
                self._memory.release()
            self.finished.set()
            with self._changed:
                self._changed.notify_all()

    def _step(self, is_urgent: bool) -> None:
        self.session.ring.notify_backlog(self._backlog_records, self._wakeup.ring)
        while self.abandoned:
            if not self.session.end_run(self.abandoned[0], time.time()):
                break
            self.abandoned.popleft()
            self._owner.release(self)
        self._reconnect()
        self._pump()
        self._memory.grow()
        waited_secs = 0.0
        last = self.session.ring.last_sequence
        while not self._is_stopping:
            failure = self.session.commit_scalars()
            if failure:
                self._warn("capture", f"a value could not be captured and is lost: {failure}")
            capture = self.session.next_capture()
            # What is logged meanwhile waits for the next round, or this one would never end; and
            # a wait for a value competes with the trainer, so it is only for who waits for it.
            if capture is None or capture.sequence > last:
                break
            if not is_urgent and not capture.is_done():
                break
            if waited_secs > _SLOW_WAIT_SECS:
                self._pump()
            begin = time.monotonic()
            self._resolve(capture)
            waited_secs = time.monotonic() - begin
        self._pump()

    def _pump(self) -> None:
        connection = self._connection
        self._is_held_up = False
        if connection is None or self._ended is not None or self._is_draining:
            return
        if not self._memory.share_large():
            return
        while connection.has_room():
            messages = self.session.next_messages(now=time.monotonic())
            if not messages:
                self._is_held_up = self.session.is_window_full
                return
            for message in messages:
                connection.send(message)

    def _resolve(self, capture: Capture) -> None:
        failure, value = capture.wait()
        if failure:
            self.session.abort(capture, failure)
            self._warn("capture", f"a value could not be captured and is lost: {failure}")
        else:
            self.session.commit(capture, value)

    def _reconnect(self) -> None:
        if self._ended is not None:
            error, was_announced = self._ended, self._is_draining
            self._disconnect()
            # One that ends as soon as it is made is no better than none.
            if time.monotonic() - self._opened_at > _LAST_RETRY_SECS:
                self._retry_secs = _FIRST_RETRY_SECS
            if was_announced:  # the next daemon may be there at once
                self._retry_at = time.monotonic() + _FIRST_RETRY_SECS
            else:
                self._failed(error)
        now = time.monotonic()
        if self._connection is not None or self._is_stopping or now < self._retry_at:
            return
        if not self.session.ring.last_sequence:
            return
        try:
            self._open()
        except ConnectionFailedError as error:
            if error.code == "UNAVAILABLE" and self._launch():
                try:
                    self._open()
                except ConnectionFailedError as second:
                    self._failed(second)
            else:
                self._failed(error)

    def _open(self) -> None:
        self._link = link = Link(self)
        connection = self._opening = self._connect(self, link)
        try:
            if self._is_stopping:  # nobody would close it any more
                raise ConnectionFailedError("CANCELLED", "the process ends")
            request = self.session.open_request(socket.gethostname(), os.getpid(), _program())
            reply = connection.open(request, _OPEN_TIMEOUT_SECS)
            self.session.opened(reply, is_shared=self._memory.hand_over(reply))
            connection.attach(self.session.attachment())
        except BaseException:
            link.cut()
            connection.close()
            self._opening = None
            self.session.disconnected()
            self._ended = None
            raise
        self._connection, self._opening = connection, None
        self._opened_at = time.monotonic()
        if self._trouble:
            logger.info("the daemon at %s is back", self.address)
            self._trouble = ""
        with self._changed:
            self._changed.notify_all()

    def _launch(self) -> bool:
        if not isinstance(self.address, UnixAddress) or time.monotonic() < self._launch_at:
            return False
        try:
            autostart.ensure_daemon(self.address, _LAUNCH_TIMEOUT_SECS)
        except AutostartError as error:
            self._complain(str(error))
            return False
        finally:
            self._launch_at = time.monotonic() + _LAUNCH_AGAIN_SECS
        return True

    def _failed(self, error: ConnectionFailedError) -> None:
        if error.code in _REFUSALS:
            self.session.refused(str(error))
            retry_secs = _RETRY_REFUSED_SECS
        else:
            retry_secs = self._retry_secs
            self._retry_secs = min(2 * retry_secs, _LAST_RETRY_SECS)
        self._retry_at = time.monotonic() + retry_secs * random.uniform(0.5, 1.0)
        # That a stream ended, at a restart say, is news only if the next tries fail too.
        if retry_secs > 2 * _FIRST_RETRY_SECS:
            self._complain(str(error))
        with self._changed:
            self._changed.notify_all()

    def _complain(self, text: str) -> None:
        """Warns once for each outage."""
        if not self._trouble:
            logger.warning(
                "the daemon at %s cannot be reached (%s); records are kept and sent when it can",
                self.address,
                text,
            )
        self._trouble = text

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if self._link is not None:
            self._link.cut()
        if connection is not None:
            self.session.disconnected()
            connection.close()
        self._ended = None
        self._is_draining = False

    def _end_session(self) -> None:
        connection = self._connection
        if connection is not None:
            with contextlib.suppress(ConnectionFailedError):
                connection.end(
                    pb.CloseRequest(
                        session_id=self.session.session_id, timeout_secs=_END_TIMEOUT_SECS
                    )
                )

    def _warn(self, key: str, text: str) -> None:
        if key not in self._warned and len(self._warned) < 1000:
            self._warned.add(key)
            logger.warning("%s", text)


def _program() -> str:
    return sys.argv[0][:256] if getattr(sys, "argv", None) else ""


def _run_name(run: DefinedRun | None) -> str:
    if run is None:
        return "a run"
    return "/".join(part for part in (run.definition.logdir, run.definition.name) if part)
