"""The senders of this process, one for each address; what fork and exit mean for them."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import time
import weakref
from typing import Any, Final, Protocol

from boardd_protos.address import Address

from boardd_client.environment import Settings
from boardd_client.transport.connection import Connection, Events
from boardd_client.transport.grpc_connection import GrpcConnection
from boardd_client.transport.sender import Sender
from boardd_client.transport.subprocess_connection import SubprocessConnection

_logger = logging.getLogger("boardd_client")

_STOP_SECS: Final = 1.0


class Forkable(Protocol):
    """Starts afresh in a forked child."""

    def after_fork(self) -> None:
        """Forgets the parent's session, and locks that another thread may have held."""


class Senders:
    """The senders of one process. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._senders: dict[str, Sender] = {}
        self._all_senders: weakref.WeakSet[Sender] = weakref.WeakSet()  # also those that end
        self._forkables: weakref.WeakSet[Any] = weakref.WeakSet()
        self._needs_subprocess = False
        self._inherited: list[object] = []
        self._hooks_multiprocessing = False

    def add_forkable(self, forkable: Forkable) -> None:
        """Makes a forked child call ``forkable.after_fork``, as long as that lives."""
        with self._lock:
            self._forkables.add(forkable)

    def acquire(self, address: Address, settings: Settings) -> Sender:
        """The sender to an address, with one user more. ``settings`` are for a new one."""
        with self._lock:
            sender = self._senders.get(str(address))
            if sender is None:
                sender = Sender(address, settings, self._connect, self)
                self._senders[str(address)] = sender
                self._all_senders.add(sender)
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

    def drain(self) -> None:
        """Waits until everything is written, up to the exit timeout; then ends all senders."""
        with self._lock:
            senders = list(self._senders.values())
            self._senders.clear()
        begin = time.monotonic()
        for sender in senders:
            sender.start()  # a writer may have logged and not got as far as this
            deadline = begin + sender.settings.exit_timeout_secs
            if not sender.wait_written(sender.session.ring.last_sequence, deadline):
                statistics = sender.session.statistics()
                if statistics.pending:
                    is_safe = statistics.transport == "shared" and sender.has_no_claims
                    _logger.warning(
                        "%d records are not written yet%s: %s",
                        statistics.pending,
                        "; the daemon has them and will"
                        if is_safe
                        else " and lost with this process",
                        sender.why_not(),
                    )
        # Also those that are ending: no gRPC thread may outlive the interpreter.
        with self._lock:
            senders = list(self._all_senders)
        for sender in senders:
            sender.stop(_STOP_SECS)

    def _connect(self, address: Address, settings: Settings, events: Events) -> Connection:
        if self._needs_subprocess:
            return SubprocessConnection(address, events)
        return GrpcConnection(address, events, token=settings.token, tls_ca=settings.tls_ca)

    def _hook_multiprocessing(self) -> None:
        # Its children leave by os._exit and skip atexit, but run these finalizers.
        util = sys.modules.get("multiprocessing.util")
        if util is not None and not self._hooks_multiprocessing:
            self._hooks_multiprocessing = True
            util.Finalize(None, self.drain, exitpriority=0)

    def after_fork_in_child(self) -> None:
        """Starts afresh; keeps the parent's senders, because destroying them would use gRPC."""
        inherited = list(self._all_senders)
        self._inherited.append(inherited)
        for sender in inherited:
            sender.forget_in_child()
        self._lock = threading.RLock()
        self._senders = {}
        self._all_senders = weakref.WeakSet()
        self._hooks_multiprocessing = False
        self._needs_subprocess = self._needs_subprocess or "grpc" in sys.modules
        for forkable in list(self._forkables):
            forkable.after_fork()


senders: Final = Senders()
os.register_at_fork(after_in_child=senders.after_fork_in_child)
atexit.register(senders.drain)
