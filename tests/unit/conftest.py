"""What the unit tests share: scripted daemons for the client, a watch over the service."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import gc
import logging
import threading
from collections.abc import Iterator

import pytest
from boardd_client import capture
from boardd_client.transport.senders import senders
from support.scripted_daemon import ScriptedDaemon
from support.scripted_writer import Lazy


@pytest.fixture
def no_defects(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails a test during which the service met an exception that it did not expect."""
    yield
    defects = [
        record
        for record in caplog.get_records("call")
        if (record.exc_info or "never retrieved" in record.getMessage())
        and not of_ended_loop(record)
        and not of_cancelled_call(record)
    ]
    assert not defects, defects


def of_ended_loop(record: logging.LogRecord) -> bool:
    """Whether gRPC met the loop of an earlier test, which has ended.

    One poller of gRPC serves all loops of a process. What comes for a call whose loop is closed
    it reports to the one that runs. A daemon has one loop.
    """
    error = record.exc_info[1] if record.exc_info else None
    return (
        isinstance(error, RuntimeError)
        and str(error) == "Event loop is closed"
        and "PollerCompletionQueue._handle_events" in record.getMessage()
    )


def of_cancelled_call(record: logging.LogRecord) -> bool:
    """Whether gRPC met the end of a call that it had cancelled itself, as its server stopped.

    It expects that everywhere but while it tells the client how the call has ended.
    """
    error = record.exc_info[1] if record.exc_info else None
    told = "Exception not handled by _handle_exceptions in servicer method"
    return isinstance(error, asyncio.CancelledError) and told in record.getMessage()


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the file systems be without locks, as NFS is for directories."""

    def no_lock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", no_lock)


@pytest.fixture
def no_autostart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has no writer start a daemon, nor take much memory."""
    monkeypatch.setenv("BOARDD_AUTOSTART", "0")
    monkeypatch.setenv("BOARDD_ARENA_BYTES", str(8 << 20))
    monkeypatch.setenv("BOARDD_LARGE_TENSOR_BYTES", str(8 << 20))


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedDaemon]:
    """A scripted daemon, which takes records by value.

    No thread of the client may be left after the test.
    """
    monkeypatch.setenv("BOARDD_SHARED_MEMORY", "0")
    with ScriptedDaemon() as daemon:
        yield daemon
        gc.collect()
        senders.drain()
    left = [thread.name for thread in threading.enumerate() if thread.name.startswith("boardd")]
    assert not left


@pytest.fixture
def lazy_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Has ``Lazy`` taken for a framework's array, as capture would."""
    scalar, tensor = capture.scalar, capture.tensor
    monkeypatch.setattr(
        capture, "scalar", lambda v, what: v if isinstance(v, Lazy) else scalar(v, what)
    )
    monkeypatch.setattr(
        capture, "tensor", lambda v, what: v if isinstance(v, Lazy) else tensor(v, what)
    )
