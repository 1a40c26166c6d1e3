"""Each system call that boardd makes fails once, in a daemon and in a client.

The short form lets a few of them fail. ``TORTURE=long`` lets each one fail, over both
transports; ``TORTURE_FROM=54`` begins with the 54th.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from boardd.errors import ExitCode
from support import short_history
from support.daemon_process import DaemonProcess
from support.nursery import Forked, Nurseries, nurseries
from support.torture_scale import IS_LONG, Progress, seed
from support.transports import SETTINGS, VARIABLE
from support.waiting import wait_until

#: In the short form, of each process and transport.
SAMPLES = 2
#: A line may make a call again and again; so many of them fail.
CALLS_OF_LINE = 3
FIRST = int(os.environ.get("TORTURE_FROM", "1")) - 1
END_SECS = 120.0
MODULE = "support.failing_calls"


@pytest.fixture(scope="module")
def forks() -> Iterator[Nurseries]:
    with nurseries() as both:
        yield both


class History:
    """The script of ``support.short_history``, and the daemons that it logs to."""

    def __init__(self, forks: Nurseries, directory: Path, socket: Path, transport: str) -> None:
        self.directory = directory
        self._forks, self._socket, self._transport = forks, socket, transport
        directory.mkdir(parents=True)

    def daemon(self, fails_at: str | None = None) -> DaemonProcess:
        """Starts a daemon, without waiting for it if one of its calls is to fail."""
        return DaemonProcess(
            self.directory,
            socket=self._socket,
            environ=self._failing("boardd", fails_at),
            module="boardd" if fails_at is None else MODULE,
            popen=self._forks.daemons.popen,
            wait=fails_at is None,
        )

    def script(self, fails_at: str | None = None) -> Forked:
        """Starts the script."""
        module = "support.short_history"
        with (self.directory / "output").open("ab") as output:
            return self._forks.clients.popen(
                [
                    *("", "-m", module if fails_at is None else MODULE),
                    *(str(self.directory / "logs"), str(self.directory)),
                ],
                env={
                    **os.environ,
                    **self._failing(module, fails_at),
                    VARIABLE: SETTINGS[self._transport],
                    "BOARDD_ADDRESS": f"unix:{self._socket}",
                    "BOARDD_AUTOSTART": "0",
                },
                stdout=output,
            )

    def note(self, name: str) -> Path:
        """A file that the script and the tests tell each other things by."""
        return self.directory / name

    def calls(self) -> list[str]:
        """The calls of the process of which one fails, as ``support.failing_calls`` names them."""
        return self.note("calls").read_text().splitlines()

    def _failing(self, module: str, fails_at: str | None) -> dict[str, str]:
        if fails_at is None:
            return {}
        return {"FAILING": module, "FAILS_AT": fails_at, "CALLS": str(self.note("calls"))}


def fail_daemon(history: History, fails_at: str) -> None:
    """One call fails in a daemon that follows a killed one, in the middle of the script."""
    with history.daemon() as first:
        script = history.script()
        wait_until(history.note("half").exists, "the first half", END_SECS)
        first.kill()
    with history.daemon(fails_at) as daemon:
        history.note("go").touch()
        wait_until(
            lambda: script.poll() is not None or daemon.returncode is not None,
            "an end",
            END_SECS,
        )
        if daemon.returncode is None:
            assert daemon.terminate() == 0, daemon.log
        else:
            assert daemon.returncode in (ExitCode.FAILED, ExitCode.USAGE), (
                daemon.returncode,
                daemon.log,
            )
            assert daemon.log.splitlines()[-1].startswith("boardd: "), daemon.log
        assert "Traceback" not in daemon.log, daemon.log
    if script.poll() is None:
        with history.daemon():
            script.wait(END_SECS)
    assert script.returncode == 0, history.note("output").read_text()
    short_history.check(history.note("logs"), history.directory, is_lossless=True)


def fail_client(history: History, fails_at: str) -> None:
    """One call fails in the script."""
    history.note("go").touch()
    with history.daemon() as daemon:
        script = history.script(fails_at)
        assert script.wait(END_SECS) == 0, history.note("output").read_text()
        daemon.terminate()
    assert "Traceback" not in history.note("output").read_text()
    short_history.check(history.note("logs"), history.directory, is_lossless=False)


@pytest.mark.slow
@pytest.mark.parametrize("fail", [fail_daemon, fail_client])
def test_all_is_written_once_whichever_call_fails(
    transport: str,
    fail: Callable[[History, str], None],
    forks: Nurseries,
    tmp_path: Path,
    runtime_directory: Path,
) -> None:
    chance = random.Random(seed())
    numbers = itertools.count()

    def attempt(call: str) -> History:
        """Lets it fail; empty: none."""
        directory = tmp_path / str(next(numbers))
        history = History(forks, directory, runtime_directory / "s", transport)
        fail(history, call)
        return history

    calls = [call for call in attempt("").calls() if int(call.split()[-1]) <= CALLS_OF_LINE]
    assert len(calls) > SAMPLES
    failures = []
    calls.sort(key=lambda call: int(call.split()[-1]))  # first, the first call of each line
    chosen = calls[FIRST:] if IS_LONG else chance.sample(calls, SAMPLES)
    progress = Progress(len(chosen))
    for call in chosen:
        try:
            attempt(call)
        except AssertionError as error:
            failures.append(f"{call}:\n{error}")
            progress.tell(failures[-1])
        progress.step(f"{call}; {len(failures)} failures")
    assert not failures, "\n\n".join(failures)
