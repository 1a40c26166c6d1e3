"""Memory that clients shared is given back beside the event loop."""

from __future__ import annotations

import mmap
import os
import socket
import threading
import time
import weakref
from collections.abc import Callable

import pytest
from boardd.sessions import let_go
from boardd.sessions.maps import MapBudget, Maps
from boardd_protos.shared import SHARE, Handover
from support.shared_client import is_mapped, memory
from support.waiting import wait_until

SIZE_BYTES = 512 << 20
#: To take back so much is a tenth of a second of work for the system.
MAX_HOLD_SECS = 0.02


def held_secs(drop: Callable[[], None]) -> float:
    begun = time.thread_time()
    drop()
    return time.thread_time() - begun


def test_the_last_view_of_a_large_map_leaves_at_once() -> None:
    maps, fd = Maps(MapBudget(1 << 40)), memory(SIZE_BYTES)
    maps.share(Handover(bytes(16), SHARE, 1, SIZE_BYTES), fd)
    os.close(fd)
    part = maps.views[1][:1]  # as a record has one
    maps.clear()
    assert is_mapped()
    assert maps.size_bytes == SIZE_BYTES
    assert held_secs(part.release) < MAX_HOLD_SECS
    assert maps.size_bytes == 0, "there is room for the next"
    wait_until(lambda: not is_mapped())


def test_the_last_descriptor_of_much_memory_is_closed_at_once() -> None:
    fd = memory(SIZE_BYTES)
    assert held_secs(lambda: let_go.close(fd)) < MAX_HOLD_SECS
    wait_until(lambda: _is_closed(fd))


def _is_closed(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return True
    return False


def _shared(size_bytes: int) -> tuple[Maps, memoryview]:
    """Maps of which one view is left, as a record has one."""
    maps, fd = Maps(MapBudget(1 << 40)), memory(size_bytes)
    maps.share(Handover(bytes(16), SHARE, 1, size_bytes), fd)
    os.close(fd)
    part = maps.views[1][:1]
    maps.clear()
    return maps, part


def test_what_cannot_have_a_thread_is_let_go_of_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(let_go, "_letting_go", let_go._LettingGo())
    monkeypatch.setattr(threading.Thread, "start", no_thread)
    fd = memory(2 * let_go.SMALL_BYTES)
    let_go.close(fd)
    assert _is_closed(fd)
    _, part = _shared(2 * let_go.SMALL_BYTES)
    assert is_mapped()
    part.release()
    assert not is_mapped()


def test_what_cannot_be_let_go_of_keeps_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(let_go, "_letting_go", let_go._LettingGo())
    begin = threading.Event()
    let_go._letting_go.add(lambda: begin.wait(60) and None)
    twice, once = (memory(2 * let_go.SMALL_BYTES) for _ in range(2))
    for fd in (twice, twice, once):
        let_go.close(fd)
    begin.set()
    wait_until(lambda: _is_closed(once))
    assert "Bad file descriptor" in caplog.text


def test_a_view_that_stays_keeps_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(let_go, "_letting_go", let_go._LettingGo())
    monkeypatch.setattr(let_go, "_LOOKS", 3)
    mapped = mmap.mmap(-1, 2 * let_go.SMALL_BYTES)
    view, left = memoryview(mapped), weakref.ref(mapped)
    let_go.unmap(mapped)
    other = mmap.mmap(-1, 2 * let_go.SMALL_BYTES)
    let_go.unmap(other)
    wait_until(lambda: other.closed)
    del mapped
    view.release()
    wait_until(lambda: left() is None)


def test_descriptors_go_in_front_of_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(let_go, "_letting_go", let_go._LettingGo())
    ours, peers = socket.socketpair()
    fd = memory(2 * let_go.SMALL_BYTES)
    begin, closed = threading.Event(), list[bool]()

    class Watched(mmap.mmap):
        def close(self) -> None:
            closed.extend([ours.fileno() < 0, _is_closed(fd)])
            super().close()

    let_go._letting_go.add(lambda: begin.wait(60) and None)
    let_go.unmap(Watched(-1, 2 * let_go.SMALL_BYTES))
    let_go.close(fd)
    let_go.close_socket(ours)
    begin.set()
    wait_until(lambda: len(closed) == 2)
    assert closed == [True, True]
    peers.close()
