from __future__ import annotations

import signal
import threading
import time

from boardd_client.transport.wakeup import Wakeup


def test_a_ring_ends_one_wait_and_many_rings_end_no_more() -> None:
    bell = Wakeup()
    bell.ring()
    bell.ring()
    begin = time.monotonic()
    bell.wait(10)
    assert time.monotonic() - begin < 5
    bell.wait(0.05)
    assert time.monotonic() - begin >= 0.05


def test_a_ring_wakes_another_thread() -> None:
    bell = Wakeup()
    thread = threading.Thread(target=bell.wait, args=(30,))
    thread.start()
    bell.ring()
    thread.join(10)
    assert not thread.is_alive()


def test_a_signal_handler_may_ring_while_its_thread_rings() -> None:
    bell = Wakeup()
    rung: list[int] = []

    def handler(*_: object) -> None:
        bell.ring()
        rung.append(1)

    previous = signal.signal(signal.SIGPROF, handler)
    try:
        signal.setitimer(signal.ITIMER_PROF, 0.0005, 0.0005)
        while len(rung) < 300:
            bell.ring()
            bell.wait(0)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
