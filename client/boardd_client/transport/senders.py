"""The senders of this process, one for each address; what fork and exit mean for them."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import sys
import threading
import time
import weakref
from typing import Any, Final, Protocol

from boardd_protos.address import Address
from boardd_protos.merging import PROCESS_ID_BYTES
from boardd_protos.printable import counted

from boardd_client.environment import Settings
from boardd_client.session.latest_epoch import LatestEpoch
from boardd_client.transport.connection import Connection, Events
from boardd_client.transport.gathering import FINISH_SECS, gatherings
from boardd_client.transport.grpc_connection import GrpcConnection
from boardd_client.transport.sender import Sender
from boardd_client.transport.subprocess_connection import SubprocessConnection

_logger = logging.getLogger("boardd_client")

_STOP_SECS: Final = 1.0
#: In the arguments of a child that multiprocessing has spawned: it ends as any script does.
_SPAWNED_FLAG: Final = "--multiprocessing-fork"
#: Of multiprocessing's finalizers, those with the lowest run last; its own have -5 and more.
_LAST_PRIORITY: Final = -100


class Forkable(Protocol):
    """Starts afresh in a forked child."""

    def after_fork(self) -> None:
        """Forgets the parent's session, and locks that another thread may have held."""


class Senders:
    """The senders of one process. Every method may be called from any thread."""

    def __init__(self) -> None:
        #: What tells this process from others, also from its forked children.
        self.process_id = secrets.token_bytes(PROCESS_ID_BYTES)
        self._lock = threading.RLock()
        self._senders: dict[str, Sender] = {}
        self._all_senders: weakref.WeakSet[Sender] = weakref.WeakSet()  # also those that end
        self._forkables: weakref.WeakSet[Any] = weakref.WeakSet()
        #: By address and what makes a run's directory; kept by the writers.
        self._epochs: weakref.WeakValueDictionary[object, LatestEpoch] = (
            weakref.WeakValueDictionary()
        )
        self._needs_subprocess = False
        self._inherited: list[object] = []
        self._hooks_multiprocessing = False
        self._is_forked = False
        self._has_ended = False

    def add_forkable(self, forkable: Forkable) -> None:
        """Makes a forked child call ``forkable.after_fork``, as long as that lives."""
        with self._lock:
            self._forkables.add(forkable)

    def latest_epoch(self, *run: object) -> LatestEpoch:
        """That of a run, which ``run`` names: one for all writers, also in a forked child."""
        with self._lock:
            return self._epochs.setdefault(run, LatestEpoch())

    def acquire(self, address: Address, settings: Settings) -> Sender:
        """The sender to an address, with one user more. ``settings`` are for a new one."""
        with self._lock:
            sender = self._senders.get(str(address))
            if sender is None:
                sender = Sender(address, settings, self._connect, self)
                self._senders[str(address)] = sender
                self._all_senders.add(sender)
                if self._has_ended:  # what is logged now is dropped, and counted
                    sender.session.ring.close()
                    sender.stop(0)
                self._hook_multiprocessing()
            sender.users += 1
            return sender

    def release(self, sender: Sender) -> None:
        """One user less; after the last, the sender ends once everything is written."""
        with self._lock:
            sender.users -= 1
            if sender.users == 0:
                sender.wake()

    def retire(self, sender: Sender) -> bool:
        """See ``Owner``."""
        with self._lock:
            if sender.users or not sender.session.is_drained:
                return False
            if self._senders.get(str(sender.address)) is sender:
                del self._senders[str(sender.address)]
            return True

    def end(self) -> None:
        """Drains at the end of the process; what is logged from then on is dropped, and counted.

        No thread can be started there any more (since Python 3.12), and none may be left.
        """
        begin = time.monotonic()
        with self._lock:
            timeouts = [sender.settings.exit_timeout_secs for sender in self._senders.values()]
        gatherings.finish_all(min([FINISH_SECS, *timeouts]))
        with self._lock:
            self._has_ended = True
        self.drain(begin)

    def drain(self, begin: float | None = None) -> None:
        """Waits until everything is written, up to the exit timeout; then ends all senders.

        The timeout counts from ``begin`` of the monotonic clock; None: from now. Their writers
        can log no more.
        """
        with self._lock:
            senders = list(self._senders.values())
            self._senders.clear()
        if begin is None:
            begin = time.monotonic()
        late = [
            sender
            for sender in senders
            if not self._drain(sender, begin + sender.settings.exit_timeout_secs)
        ]
        # Also those that are ending: no gRPC thread may outlive the interpreter.
        with self._lock:
            senders = list(self._all_senders)
        for sender in senders:
            sender.request_stop()
        for sender in senders:
            sender.stop(0 if sender in late else _STOP_SECS)

    def _drain(self, sender: Sender, deadline: float) -> bool:
        """Waits until everything is written, and lets nothing more be logged."""
        sender.start()  # a writer may have logged and not got as far as this
        ring = sender.session.ring
        # Threads may log meanwhile.
        sender.wait_written(ring.last_sequence, deadline)
        ring.close()
        if sender.wait_written(ring.last_sequence, deadline):
            return True
        statistics = sender.session.statistics()
        if statistics.pending:
            is_safe = statistics.transport == "shared" and sender.has_no_claims
            if is_safe:
                fate = "the daemon has what it needs to write them"
            elif sender.is_log_found:
                fate = (
                    f"the next daemon at {sender.address} writes those without tensors, and the "
                    "others are lost with this process"
                )
            else:
                fate = "they are lost with this process"
            _logger.warning(
                "boardd: %s not written yet when the process ends: %s (%s)",
                counted(statistics.pending, "record"),
                fate,
                sender.why_not(),
            )
        return False

    def _connect(self, address: Address, settings: Settings, events: Events) -> Connection:
        if self._needs_subprocess:
            return SubprocessConnection(address, events)
        return GrpcConnection(address, events, settings.access)

    def _hook_multiprocessing(self) -> None:
        # Children that multiprocessing has forked leave by os._exit and skip atexit, but run its
        # finalizers: ours last, as others may log.
        process, util = map(sys.modules.get, ("multiprocessing.process", "multiprocessing.util"))
        if process is None or util is None or process.parent_process() is None:
            return
        is_spawned = _SPAWNED_FLAG in sys.orig_argv and not self._is_forked
        if not is_spawned and not self._hooks_multiprocessing:
            self._hooks_multiprocessing = True
            util.Finalize(None, self.end, exitpriority=_LAST_PRIORITY)

    def after_fork_in_child(self) -> None:
        """Starts afresh; keeps the parent's senders, because destroying them would use gRPC."""
        inherited = list(self._all_senders)
        self._inherited.append(inherited)
        for sender in inherited:
            sender.forget_in_child()
        gatherings.forget_in_child()
        self.process_id = secrets.token_bytes(PROCESS_ID_BYTES)
        self._lock = threading.RLock()
        self._senders = {}
        self._all_senders = weakref.WeakSet()
        self._hooks_multiprocessing = False
        self._is_forked = True
        self._has_ended = False
        self._needs_subprocess = self._needs_subprocess or "grpc" in sys.modules
        for forkable in list(self._forkables):
            forkable.after_fork()


senders: Final = Senders()
os.register_at_fork(after_in_child=senders.after_fork_in_child)
atexit.register(senders.end)
