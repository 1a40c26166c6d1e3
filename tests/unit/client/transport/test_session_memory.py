"""The memory of a session, from when it is made until all that was logged is written."""

from __future__ import annotations

import os
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
