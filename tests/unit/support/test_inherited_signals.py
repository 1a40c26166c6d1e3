"""What the tests start can be ended by signals, whatever the session was started to ignore."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import support

SESSION = """
import signal, subprocess
from support import inherited_signals

inherited_signals.keep_from_children()
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    child = subprocess.Popen(["sleep", "20"])
    child.send_signal(number)
    signal.raise_signal(number)
    assert child.wait(timeout=60) == -number, child.returncode
"""


def test_a_session_that_ignores_signals_hands_on_none_of_that() -> None:
    shell = 'trap \'\' HUP INT QUIT TERM CHLD; exec "$0" -c "$1"'
    done = subprocess.run(
        ["sh", "-c", shell, sys.executable, SESSION],
        env={"PYTHONPATH": str(Path(support.__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
