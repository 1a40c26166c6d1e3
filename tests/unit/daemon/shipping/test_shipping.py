"""All stores of a daemon, each with a thread of its own."""

from __future__ import annotations

from pathlib import Path

from boardd.runs.directories.logdir import Roots
from boardd.runs.directories.spool import Spool
from boardd.shipping.shipping import MAX_STAY_SECS, Shipping
from support.spooled_runs import RecordingStore, append, open_run
from support.waiting import wait_until

BUCKETS = ("memory://a", "memory://b")


def shipping_to(path: Path, stores: dict[str, RecordingStore]) -> Shipping:
    return Shipping(path, 1 << 30, 60.0, stores.__getitem__)


def log(spool: Spool, url: str, step: int) -> None:
    with open_run(spool, f"{url}/run") as file:
        append(file, step)


def test_a_store_that_fails_does_not_hold_another_up(tmp_path: Path) -> None:
    stores = {url: RecordingStore() for url in BUCKETS}

    def fail(call: str, key: str) -> None:
        raise ConnectionError("away")

    stores["memory://a"].before = fail
    shipping = shipping_to(tmp_path / "spool", stores)
    for url in BUCKETS:
        log(shipping.spool, url, 1)
    wait_until(lambda: len(stores["memory://b"].objects) == 1, "the other is shipped")
    assert not shipping.drain(60.0)
    reports = {report.url: report for report in shipping.reports()}
    assert reports["memory://a"].pending_files == 1
    assert reports["memory://a"].failures > 0
    assert reports["memory://b"].pending_bytes == 0
    assert shipping.must_stay(idle_secs=1.0)
    assert not shipping.must_stay(idle_secs=MAX_STAY_SECS)


def test_the_next_daemon_goes_on_with_what_is_left(tmp_path: Path) -> None:
    stores = {url: RecordingStore() for url in BUCKETS}
    spool = Spool(tmp_path / "spool", 1 << 30, 60.0, lambda scheme: "")
    log(spool, "memory://a", 1)
    held = shipping_to(tmp_path / "spool", stores)
    held.resume()
    assert not held.reports()
    spool.release()
    shipping = shipping_to(tmp_path / "spool", stores)
    shipping.resume()
    assert shipping.drain(60.0)
    assert stores["memory://a"].steps(tmp_path / "scratch") == [1]
    assert shipping.spool.held_bytes == 0
    assert not shipping.must_stay(idle_secs=1.0)
    assert Roots(["/"], spool=shipping.spool).shown(shipping.spool.path / "memory/a/run") == (
        "memory://a/run"
    )


def test_a_spool_in_which_no_run_was_opened_is_left_to_others(tmp_path: Path) -> None:
    stores = {url: RecordingStore() for url in BUCKETS}
    spool = Spool(tmp_path / "spool", 1 << 30, 60.0, lambda scheme: "")
    log(spool, "memory://a", 1)
    spool.release()
    shipping = shipping_to(tmp_path / "spool", stores)
    shipping.resume()
    wait_until(lambda: not shipping.spool.id, "what was left is shipped, and the spool given back")
    assert len(stores["memory://a"].objects) == 1
    log(spool, "memory://b", 1)
    spool.release()
    log(shipping.spool, "memory://a", 2)
    assert shipping.drain(60.0)
    assert shipping.spool.id, "who has opened a run keeps it"
    assert len(stores["memory://a"].objects) == 2
