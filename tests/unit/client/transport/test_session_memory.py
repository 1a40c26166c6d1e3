"""The memory of a session, from when it is made until all that was logged is written."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from boardd_client.environment import Settings
from boardd_client.session.scalar_history import ScalarHistory
from boardd_client.session.session import Session
from boardd_client.transport.session_memory import SessionMemory
from boardd_protos.address import UnixAddress

SESSION_ID = bytes(range(16))


def maps() -> list[str]:
    """The lines of this process's maps that are of a session's memory."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return [line for line in lines if "memfd:boardd" in line or "/log/" in line]


@pytest.mark.parametrize("is_shared", [True, False])
def test_a_session_that_is_over_keeps_no_memory_though_something_refers_to_it(
    runtime_directory: Path, is_shared: bool
) -> None:
    environ = {"BOARDD_SHARED_MEMORY": str(int(is_shared))}
    settings = Settings.from_environ({**os.environ, **environ})
    lock = threading.RLock()
    before, files = maps(), set(os.listdir("/proc/self/fd"))
    memory = SessionMemory(UnixAddress(runtime_directory / "s"), settings, SESSION_ID, lock)
    session = Session(
        SESSION_ID,
        memory.ring,
        memory.arena,
        history=ScalarHistory(settings.scalar_history_bytes),
        arena_offset=memory.arena_offset,
        large=memory.large,
        definitions=memory.definitions,
        parked=memory.parked,
    )
    assert (len(maps()) > len(before)) == is_shared
    session.release()
    memory.release()
    assert maps() == before
    assert set(os.listdir("/proc/self/fd")) == files
    assert session.is_drained


#: Logs though its address space ends: that of tensors and of the log alone is larger.
LIMITED = """
import resource, sys
import numpy as np
import boardd_client.transport.sender
from boardd_client import SummaryWriter

size_bytes = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size_bytes + (48 << 20), -1))
sw = SummaryWriter(sys.argv[1])
for step in range(100):
    sw.add_scalar("loss", 1.0, step)
    sw.add_histogram("weights", np.ones(10), step)
print(sw.statistics().accepted)
"""


@pytest.mark.parametrize("shared", ["0", "1"])
def test_a_process_that_may_have_little_memory_logs(
    shared: str, tmp_path: Path, runtime_directory: Path
) -> None:
    environ = {
        "BOARDD_SHARED_MEMORY": shared,
        "BOARDD_AUTOSTART": "0",
        "BOARDD_EXIT_TIMEOUT_SECS": "0",
        "OPENBLAS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "200\n", done.stderr
    assert "so less can wait" in done.stderr
