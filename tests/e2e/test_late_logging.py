"""What is logged while a process ends: written, or counted as dropped and said so."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import read_events

BEFORE = """
import atexit, json, multiprocessing.util, sys, threading, time, weakref

logdir, address, where = sys.argv[1:]

class Thing:
    pass

thing, other = Thing(), Thing()

def log(*arguments):
    global sw
    if where == "a writer made in a handler from before the import":
        from boardd_client import SummaryWriter
        sw = SummaryWriter(logdir, address=address)
    sw.add_scalar("late", 1.0, 1)
    sw.add_histogram("late values", [1.0, 2.0], 1)
    report()

def report():
    flushed = sw.flush(timeout=60)
    closed = sw.close(timeout=60)
    counts = sw.statistics()
    print(json.dumps({
        "flushed": flushed.ok, "closed": closed.ok, "reason": flushed.reason,
        "accepted": counts.accepted, "written": counts.written, "pending": counts.pending,
        "dropped": dict(counts.dropped),
    }), flush=True)

if "before the import" in where and "handler" in where:
    atexit.register(log)
if where == "a daemon's thread":
    atexit.register(report)
if where == "a finalizer from before the import":
    finalizer = weakref.finalize(thing, log)
"""

AFTER = """
from boardd_client import SummaryWriter

if where != "a writer made in a handler from before the import":
    sw = SummaryWriter(logdir, address=address)
    sw.add_scalar("early", 0.0, 0)

if where == "a handler from after the import":
    atexit.register(log)
elif where == "a finalizer from after the import":
    finalizer = weakref.finalize(thing, log)
    del other
elif where == "a thread":
    def outlive():
        threading.main_thread().join()
        log()
    threading.Thread(target=outlive).start()
elif where == "a daemon's thread":
    begun = threading.Event()
    def outlive():
        step = 0
        while True:
            step += 1
            sw.add_scalar("late", step, step)
            begun.set()
            time.sleep(0.0001)
    threading.Thread(target=outlive, daemon=True).start()
    begun.wait()
"""

IN_TIME = ["a handler from after the import", "a finalizer from after the import", "a thread"]
TOO_LATE = [
    "a handler from before the import",
    "a finalizer from before the import",
    "a writer made in a handler from before the import",
]


def run(script: str, *arguments: str) -> tuple[dict[str, object], str]:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, object] = json.loads(done.stdout)
    return report, done.stderr


def tags(logdir: Path) -> list[str]:
    if not logdir.exists():
        return []
    return [value.tag for event in read_events(logdir) for value in event.summary.value]


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("where", IN_TIME)
def test_what_is_logged_before_boardd_ends_is_written(
    where: str, daemon: DaemonProcess, tmp_path: Path
) -> None:
    logdir = tmp_path / "logs"
    report, errors = run(BEFORE + AFTER, str(logdir), daemon.address, where)
    assert report["flushed"] is report["closed"] is True, report
    assert report["accepted"] == report["written"] == 3
    assert report["dropped"] == {}
    assert not errors
    assert sorted(tags(logdir)) == ["early", "late", "late_values"]


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("where", TOO_LATE)
def test_what_is_logged_after_boardd_has_ended_is_counted_and_said(
    where: str, daemon: DaemonProcess, tmp_path: Path
) -> None:
    logdir = tmp_path / "logs"
    report, errors = run(BEFORE + AFTER, str(logdir), daemon.address, where)
    assert report["flushed"] is report["closed"] is False, report
    assert "2 dropped records: the process ends" in str(report["reason"])
    assert report["dropped"] == {"process_ended": 2}
    assert report["pending"] == 0
    assert errors.count("a record was dropped: the process ends") == 1
    assert "budget" not in errors
    assert tags(logdir) == (["early"] if report["accepted"] else [])


@pytest.mark.usefixtures("transport")
def test_a_thread_that_never_stops_logging_loses_nothing_uncounted(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    logdir = tmp_path / "logs"
    report, _ = run(BEFORE + AFTER, str(logdir), daemon.address, "a daemon's thread")
    assert report["pending"] == 0
    logged = [tag for tag in tags(logdir) if not tag.startswith("boardd/dropped")]
    assert report["written"] == report["accepted"] == len(logged)
    # What comes after the report has closed the writer is counted by that.
    assert set(report["dropped"]) <= {"process_ended", "closed"}  # type: ignore[call-overload]


CHILD = """
import atexit, multiprocessing, sys
from multiprocessing.util import Finalize
from pathlib import Path

def log(sw, tag):
    sw.add_scalar(tag, 1.0, 1)

def work(sw):
    Finalize(None, log, (sw, "finalizer before"), exitpriority=0)
    sw.add_scalar("early", 0.0, 0)
    Finalize(None, log, (sw, "finalizer after"), exitpriority=-50)
    atexit.register(log, sw, "handler")

if __name__ == "__main__":
    from boardd_client import SummaryWriter
    logdir, address, method = sys.argv[1:]
    context = multiprocessing.get_context(method)
    process = context.Process(target=work, args=(SummaryWriter(logdir, address=address),))
    process.start()
    process.join(60)
    sys.exit(process.exitcode)
"""


@pytest.mark.usefixtures("transport")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_finalizers_of_a_child_of_multiprocessing_may_log(
    method: str, daemon: DaemonProcess, tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(CHILD)
    logdir = tmp_path / "logs"
    done = subprocess.run(
        [sys.executable, str(script), str(logdir), daemon.address, method],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    # Only a spawned child runs the handlers of atexit.
    expected = ["early", "finalizer before", "finalizer after"]
    expected += ["handler"] if method == "spawn" else []
    assert sorted(tags(logdir)) == sorted(tag.replace(" ", "_") for tag in expected)
