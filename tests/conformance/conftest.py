"""What the tests of event files share: a file being written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.event_file import EventFile


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[EventFile]:
    """The writer of the event files of ``tmp_path / "run"``."""
    with Roots([tmp_path]).open_run("run") as directory:
        events = EventFile(directory)
        yield events
        events.close()
