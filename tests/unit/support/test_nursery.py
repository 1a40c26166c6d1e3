"""Processes that are forked for tests outlast what goes wrong with one of them, and are told of."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.nursery import Forked, Nursery, NurseryEndedError, NurseryError, SessionNursery
from support.waiting import wait_until


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as result:
        yield result


def begin(nursery: Nursery | SessionNursery, statement: str) -> Forked:
    """A process that runs a statement, and ends with 1 where that fails."""
    arguments = ["-n", "1", "-r", "1", "-s", "import os, time", statement]
    return nursery.popen(["", "-m", "timeit", *arguments], env=os.environ)


def test_what_fails_is_told_and_disturbs_no_other(nursery: Nursery, tmp_path: Path) -> None:
    other = begin(nursery, "time.sleep(600)")
    with pytest.raises(NurseryError, match=r"'begin': FileNotFoundError: .*absent/log"):
        nursery.ask("begin", ["timeit"], {}, str(tmp_path / "absent" / "log"))
    with pytest.raises(NurseryError, match=f"'poll': KeyError: {os.getpid()}"):
        nursery.ask("poll", os.getpid())
    with open(tmp_path / "log", "wb") as log:
        failing = nursery.popen(["", "-m", "no_such_module"], env=os.environ, stdout=log)
    assert failing.wait() == 1
    assert "No module named no_such_module" in (tmp_path / "log").read_text()
    assert nursery.running() == [other.pid]
    other.kill()
    assert other.wait() == -signal.SIGKILL


def test_an_exit_code_is_kept_whoever_asks_first(nursery: Nursery) -> None:
    process = begin(nursery, "os._exit(3)")
    wait_until(lambda: not nursery.running())
    assert process.poll() == process.wait() == 3


def test_an_answer_that_nobody_read_is_not_taken_for_another(nursery: Nursery) -> None:
    process = begin(nursery, "os._exit(3)")
    nursery._socket.sendall(b'[-2, "running"]\n')
    assert process.wait() == 3


def test_its_end_is_that_of_its_processes() -> None:
    nursery = Nursery()
    process = begin(nursery, "time.sleep(600)")
    assert process.poll() is None
    nursery.close()
    assert process.wait() == -signal.SIGKILL
    assert nursery.running() == []
    with pytest.raises(NurseryEndedError, match="has ended"):
        begin(nursery, "pass")


def test_one_that_does_not_answer_is_ended() -> None:
    with Nursery() as nursery:
        assert nursery.running() == []
        os.kill(nursery._process.pid, signal.SIGSTOP)
        nursery.answer_secs = 0.05
        with pytest.raises(NurseryEndedError, match=r"no answer to 'begin' within 0\.05 s"):
            begin(nursery, "pass")
        assert nursery.has_ended


def test_a_session_has_another_one_after_its_end() -> None:
    nurseries = SessionNursery()
    try:
        assert nurseries.running() == []
        first = begin(nurseries, "time.sleep(600)")
        assert nurseries._nursery is not None
        os.kill(nurseries._nursery._process.pid, signal.SIGKILL)
        wait_until(lambda: first.poll() is not None)
        second = begin(nurseries, "time.sleep(600)")
        assert nurseries.running() == [second.pid]
    finally:
        nurseries.close()
