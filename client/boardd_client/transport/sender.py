"""What writers see of the sender of their process to a daemon's address.

They wake it, wait for it, and ask why something is not written. Its thread is
``sender_thread``, its connection ``connector``; ``senders`` keeps the senders.
Nothing in here raises in training code.
"""

from __future__ import annotations

import functools
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import Address
from boardd_protos.reasons import reason_name

from boardd_client.environment import Settings
from boardd_client.session.scalar_history import ScalarHistory
from boardd_client.session.schema import DefinedRun
from boardd_client.session.session import Session
from boardd_client.transport.connection import Connection, ConnectionFailedError, Events
from boardd_client.transport.connector import Connector
from boardd_client.transport.foreseen import revision
from boardd_client.transport.pace import LEAST_INTERVAL_SECS, SEND_INTERVAL_SECS, Pace
from boardd_client.transport.sender_thread import SenderThread
from boardd_client.transport.session_memory import SessionMemory
from boardd_client.transport.warn_once import WarnOnce

#: Makes a connection to an address.
Connect = Callable[[Address, Settings, Events], Connection]


@dataclass(frozen=True)
class SyncResult:
    """Whether records are synced."""

    ok: bool
    reason: str = ""  #: why not, for people; empty when ok


class Owner(Protocol):
    """Who counts the writers of a sender."""

    def release(self, sender: Sender) -> None:
        """One writer less."""

    def retire(self, sender: Sender) -> bool:
        """Whether no writer is left and none will come: the sender may end."""


class Sender:
    """See the module. Nothing runs before ``start``."""

    def __init__(
        self, address: Address, settings: Settings, connect: Connect, owner: Owner
    ) -> None:
        self.address: Final = address
        self.settings: Final = settings
        self.users = 0  #: writers; guarded by the owner's lock
        #: Runs of writers that were collected as garbage. A finalizer may run anywhere, also in
        #: this module's locks, so it may do no more than append here.
        self.abandoned: Final[deque[DefinedRun]] = deque()
        self._owner = owner
        # One lock for all: a wait on the condition then gives it up entirely, also in a signal
        # handler that interrupted a call which holds it.
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        session_id = secrets.token_bytes(16)
        self._memory = memory = SessionMemory(address, settings, session_id, lock)
        self.session: Final = Session(
            session_id,
            memory.ring,
            memory.arena,
            history=ScalarHistory(settings.scalar_history_bytes),
            arena_offset=memory.arena_offset,
            large=memory.large,
            definitions=memory.definitions,
            parked=memory.parked,
        )
        self.session.outgoing.revision = revision(address)
        self._pace = Pace()
        self._warn = WarnOnce()
        self._connector = Connector(
            address,
            self.session,
            memory,
            functools.partial(connect, address, settings),
            self._pace,
            self._changed,
        )
        self._thread = SenderThread(
            self.session, memory, self._connector, self._pace, self._changed, self._warn
        )

    # For writers and trainers

    @property
    def finished(self) -> threading.Event:
        """Set once the thread has ended."""
        return self._thread.finished

    @property
    def syncs_on_flush(self) -> bool:
        """Whether the daemon wants every flush to reach the disk."""
        return self._connector.syncs_on_flush

    def start(self) -> None:
        """Starts the thread, once; if the system has none to spare, a later call tries again."""
        self._thread.start(self)

    def pace(self, *, max_queue: int, flush_secs: float) -> None:
        """Sends sooner than usual, as the most impatient writer wishes; see ``Pace.quicken``."""
        self._pace.quicken(max_queue=max_queue, flush_secs=flush_secs)

    def wake(self) -> None:
        """Makes the thread look at once."""
        self.start()
        self._pace.wake()

    def wait_written(
        self, sequence: int, deadline: float, run: DefinedRun | None = None, patient: bool = False
    ) -> bool:
        """Waits until records up to ``sequence`` are written or rejected, or it is hopeless.

        Only those of ``run``, if one is given. ``deadline`` is one of ``time.monotonic``. It
        is hopeless if the daemon refuses the session or ``run``, and, unless ``patient``, if
        no daemon can be had before somebody changes something.
        """
        session = self.session
        with self._changed:
            while session.acknowledged_sequence < sequence:
                if run is not None and session.done.is_written(run, sequence):
                    return True
                remaining = deadline - time.monotonic()
                refused = self.session.refusal or (run is not None and run.refusal)
                hopeless = refused or (self._connector.is_given_up and not patient)
                if self.finished.is_set():  # at the process's end; a run's end may be left over
                    return session.statistics().pending == 0
                if hopeless or remaining <= 0:
                    return False
                self.wake()
                self._changed.wait(min(remaining, 1.0))
        return True

    def wait_room(self, deadline: float) -> bool:
        """Waits until something was acknowledged, 0.1 s at most; False past the deadline."""
        is_over = self.session.ring.is_closed or self.finished.is_set()
        if is_over or self._connector.is_given_up:
            return False
        return self._wait_change(deadline)

    def _wait_change(self, deadline: float) -> bool:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            return False
        self.wake()
        with self._changed:
            self._changed.wait(min(remaining, SEND_INTERVAL_SECS))
        return True

    def wait_committed(self, deadline: float) -> bool:
        """Waits until no value that was logged is still being copied; False past the deadline."""
        while not self.has_no_claims:
            if time.monotonic() >= deadline or self.finished.is_set():
                return False
            self.wake()
            with self._changed:
                self._changed.wait(LEAST_INTERVAL_SECS)
        return True

    @property
    def has_no_claims(self) -> bool:
        """Whether no value that was logged is still being copied."""
        return self.session.ring.first_claimed() is None

    @property
    def is_log_found(self) -> bool:
        """Whether the next daemon will find what is not written when this process ends."""
        return bool(self._memory.log_path) and not self.session.refusal

    @property
    def is_starting(self) -> bool:
        """Whether there is no connection yet, or again, and nothing wrong with that so far."""
        return not (self.session.refusal or self._connector.connection or self._connector.trouble)

    def wait_finished(self, timeout_secs: float) -> None:
        """Waits until the thread has ended, ``timeout_secs`` at most."""
        with self._changed:
            self._changed.wait_for(self.finished.is_set, timeout_secs)

    def sync(
        self, sequence: int, deadline: float, run: DefinedRun, patient: bool = False
    ) -> SyncResult:
        """Waits until written records of ``run`` up to ``sequence`` are synced.

        ``deadline`` and ``patient`` are as of ``wait_written``.
        """
        while True:
            remaining = deadline - time.monotonic()
            connection = self._connector.connection
            hopeless = self.session.refusal or (self._connector.is_given_up and not patient)
            if remaining <= 0 or hopeless or self.finished.is_set():
                return SyncResult(ok=False, reason=self.why_not(run))
            if connection is None:
                self._wait_change(deadline)
                continue
            request = pb.FlushRequest(
                session_id=self.session.session_id,
                sequence=sequence,
                level=pb.SYNCED,
                timeout_secs=remaining,
                runs=[run.number],
            )
            try:
                reply = connection.flush(request)
            except ConnectionFailedError:
                self._wait_change(deadline)  # it will be another connection's
                continue
            if reply.reached:
                return SyncResult(ok=True)
            return SyncResult(ok=False, reason=reply.message or "not synced")

    def why_not(self, run: DefinedRun | None = None) -> str:
        """Why records of ``run``, or of any, are not written yet, for people."""
        if self.session.refusal or self._connector.connection is None:
            reason = self.session.refusal or self._connector.trouble
            reason = reason or f"no connection to {self.address} yet"
            if self._connector.is_given_up and self._memory.log_path:
                reason += f"; they are kept in {self._memory.log_path}"
            return reason
        trouble = self.session.done.trouble(run) if run is not None else ""
        reason = f"the daemon at {self.address} has not written them in time"
        return f"{reason}: {trouble}" if trouble else reason

    # For the owner

    def request_stop(self) -> None:
        """Makes the thread end, whatever is still to be written."""
        self._pace.stop()

    def stop(self, timeout_secs: float) -> None:
        """Ends the thread and the connection, whatever is still to be written.

        They get ``timeout_secs`` to end in order.
        """
        self._pace.stop()
        self._thread.stop(timeout_secs)

    def forget_in_child(self) -> None:
        """In a forked child: lets go of what keeps the parent's session alive."""
        self._memory.close()

    # On the connection's threads

    def on_message(self, message: pb.DaemonMessage) -> None:
        """See ``Events``."""
        kind = message.WhichOneof("message")
        if kind == "acknowledged":
            self.session.acknowledged(message.acknowledged)
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
        elif kind == "notice":
            self._warn(message.notice.message, message.notice.message)
        with self._changed:
            self._changed.notify_all()
        # The window was full, the end waits for the last acknowledgement, or the daemon leaves.
        is_end_due = self.users == 0 and self.session.is_drained
        if self._connector.is_held_up or is_end_due or kind == "draining":
            self.wake()

    def on_room(self) -> None:
        """See ``Events``."""
        self.wake()

    def on_end(self, error: ConnectionFailedError) -> None:
        """See ``Events``. What the end means is for the connector to say."""
        self.wake()

    # On the sender's thread

    def release(self) -> None:
        """See ``Client``."""
        self._owner.release(self)

    def retire(self) -> bool:
        """See ``Client``."""
        return self._owner.retire(self)


def _run_name(run: DefinedRun | None) -> str:
    if run is None:
        return "a run"
    return "/".join(part for part in (run.definition.logdir, run.definition.name) if part)
