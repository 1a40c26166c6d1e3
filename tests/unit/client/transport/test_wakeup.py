from __future__ import annotations

import signal
import threading
import time

from boardd_client.transport.wakeup import Wakeup


def test_a_ring_ends_one_wait_and_many_rings_end_no_more() -> None:
    wakeup = Wakeup()
    wakeup.ring()
    wakeup.ring()
    begin = time.monotonic()
    wakeup.wait(60)
    assert time.monotonic() - begin < 30
    wakeup.wait(0.05)
    assert time.monotonic() - begin >= 0.05


def test_a_ring_wakes_another_thread() -> None:
    wakeup = Wakeup()
    thread = threading.Thread(target=wakeup.wait, args=(30,))
    thread.start()
    wakeup.ring()
    thread.join(10)
    assert not thread.is_alive()


def test_a_signal_handler_may_ring_while_its_thread_rings() -> None:
    wakeup = Wakeup()
    rung: list[int] = []

    def handler(*_: object) -> None:
        wakeup.ring()
        rung.append(1)

    previous = signal.signal(signal.SIGPROF, handler)
    try:
        signal.setitimer(signal.ITIMER_PROF, 0.0005, 0.0005)
        while len(rung) < 300:
            wakeup.ring()
            wakeup.wait(0)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
