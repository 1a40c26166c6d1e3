from __future__ import annotations

import threading
import time

import pytest
from boardd_client.transport import pace as pace_module
from boardd_client.transport.pace import LEAST_INTERVAL_SECS, SEND_INTERVAL_SECS, Pace


def wait_secs(pace: Pace) -> float:
    begin = time.monotonic()
    pace.wait()
    return time.monotonic() - begin


def test_nobody_waits_and_the_interval_passes() -> None:
    pace = Pace()
    begin = time.monotonic()
    assert not pace.wait()
    assert time.monotonic() - begin >= 0.9 * SEND_INTERVAL_SECS


def test_who_waits_is_not_kept_waiting_and_told_of_once() -> None:
    pace = Pace()
    pace.quicken(max_queue=0, flush_secs=60.0)
    pace.wait()
    pace.wake()
    assert pace.wait()  # no sleep after the last round
    assert not pace.wait()


def test_a_backlog_is_sent_early_but_not_for_each_record() -> None:
    pace = Pace()
    pace.wait()
    times = []
    for _ in range(3):
        pace.nudge()
        times.append(wait_secs(pace))
    assert min(times) >= 0.9 * SEND_INTERVAL_SECS / 2
    assert not pace.is_stopping


def idle(pace: Pace) -> None:
    """A round, and then so long none that the next may come at once."""
    pace.wait()
    time.sleep(SEND_INTERVAL_SECS)


def test_what_is_logged_just_after_a_nudge_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "_GATHER_SECS", 2 * SEND_INTERVAL_SECS)
    pace = Pace()
    idle(pace)
    pace.nudge()
    assert wait_secs(pace) >= 0.9 * 2 * SEND_INTERVAL_SECS


def test_who_waits_does_not_wait_for_what_is_logged_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "_GATHER_SECS", 60.0)
    pace = Pace()
    idle(pace)
    pace.nudge()
    timer = threading.Timer(0.01, pace.wake)
    timer.start()
    assert pace.wait()
    timer.join(20)


def test_a_wait_ends_when_another_thread_stops_it() -> None:
    pace = Pace()
    urgent = []
    thread = threading.Thread(target=lambda: urgent.append(pace.wait()))
    thread.start()
    pace.stop()
    thread.join(20)
    assert urgent == [True]
    assert pace.is_stopping


@pytest.mark.parametrize(
    ("wishes", "backlog_records"),
    [([0, 0], 0), ([10, 0], 10), ([0, 10], 10), ([5, 10], 5), ([10, 5], 5)],
)
def test_the_most_impatient_writer_decides(wishes: list[int], backlog_records: int) -> None:
    pace = Pace()
    for max_queue in wishes:
        pace.quicken(max_queue=max_queue, flush_secs=60.0)
    assert pace.backlog_records == backlog_records
    pace.quicken(max_queue=0, flush_secs=0.0)
    pace.wait()
    pace.nudge()
    assert wait_secs(pace) >= 0.9 * LEAST_INTERVAL_SECS


def test_after_looks_with_nothing_to_do_it_is_quiet_until_there_is_something() -> None:
    pace = Pace()
    assert not any(pace.looked(is_idle=True) for _ in range(19))
    assert pace.looked(is_idle=True)
    assert not pace.looked(is_idle=False)
    assert not pace.looked(is_idle=True)


def test_a_nudge_ends_a_quiet_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace_module, "QUIET_INTERVAL_SECS", 600.0)
    pace = Pace()
    pace.wait()
    for end_of_wait, is_urgent in ((pace.nudge, False), (pace.wake, True)):
        end_of_wait()
        assert pace.wait(is_quiet=True) is is_urgent
