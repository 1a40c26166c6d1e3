"""Runs in a spool, and a store in memory that records what it is given."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from boardd.core.runs.contents import RunContents
from boardd.events import event
from boardd.events.marks import Part
from boardd.events.values import scalar_value
from boardd.runs.directories.logdir import Roots
from boardd.runs.directories.spool import Spool
from boardd.runs.event_files.event_file import EventFile
from boardd.runs.event_files.mark_writer import MarkWriter
from boardd.runs.event_files.recovery import recover
from boardd.shipping.shipper import StoreShipper

from support.independent_reader import events

NOW = 1_700_000_000.0
URL = "memory://bucket/runs/one"
_SESSION = b"a" * 16


class RecordingStore:
    """A store that keeps every object that it was ever given."""

    def __init__(self) -> None:
        self.puts: list[tuple[str, bytes]] = []
        self.objects: dict[str, bytes] = {}
        #: Called before each call with its name and the key.
        self.before: Callable[[str, str], None] = lambda call, key: None

    def put(self, file: Path, key: str) -> None:
        self.before("put", key)
        content = file.read_bytes()
        self.puts.append((key, content))
        self.objects[key] = content

    def size_bytes(self, key: str) -> int:
        self.before("size_bytes", key)
        if key not in self.objects:
            raise FileNotFoundError(key)
        return len(self.objects[key])

    def changed(self) -> list[str]:
        """Event files that were put with two contents."""
        contents: dict[str, set[bytes]] = {}
        for key, content in self.puts:
            if "tfevents" in key:
                contents.setdefault(key, set()).add(content)
        return [key for key, found in contents.items() if len(found) > 1]

    def steps(self, scratch: Path) -> list[int]:
        """The steps of all scalars, in the order in which TensorBoard reads the objects."""
        found = []
        scratch.mkdir(exist_ok=True)
        for key in sorted(key for key in self.objects if "tfevents" in key):
            file = scratch / os.path.basename(key)
            file.write_bytes(self.objects[key])
            found += [read.step for read in events(file) if read.values]
        return found


def spool_at(
    path: Path,
    limit_bytes: int = 1 << 30,
    clock: Callable[[], float] = lambda: 0.0,
    ship_secs: float = 60.0,
) -> Spool:
    """A spool whose segments are never due by time, unless ``clock`` moves."""
    return Spool(path, limit_bytes, ship_secs, lambda scheme: "", clock)


@contextmanager
def open_run(spool: Spool, url: str = URL) -> Iterator[EventFile]:
    """The event file of a run, as a daemon opens it."""
    with Roots([url], spool=spool).open_run(url) as directory:
        contents = RunContents()
        recover(directory, contents)
        assert directory.segments is not None
        directory.segments.left(max(os.listdir(directory.fd), default=""))
        marks = MarkWriter(contents, lambda: NOW)
        file = EventFile(directory, clock=lambda: NOW, marks=marks)
        try:
            yield file
        finally:
            file.close()


def last_written(spool: Spool, url: str = URL) -> int:
    """The last step that the marks of a run tell of."""
    with Roots([url], spool=spool).open_run(url) as directory:
        contents = RunContents()
        recover(directory, contents)
        return contents.marks.sequence(_SESSION)


def append(file: EventFile, *steps: int) -> None:
    """Appends a scalar for each of ``steps``, which ascend."""
    data = [event.summary(NOW, step, scalar_value("loss", 0.5)) for step in steps]
    file.append(data, [Part(_SESSION, np.array(steps, np.uint64))])


def shipper_of(
    spool: Spool, store: RecordingStore, wall_clock: Callable[[], float] = lambda: NOW
) -> StoreShipper:
    """That of the bucket of ``URL``, which has no thread: ``ship`` makes a pass."""
    spool.take()
    bucket = spool.path / "memory" / "bucket"
    shipper = StoreShipper(spool, bucket, lambda: store, wall_clock)
    spool.on_closed = shipper.tell
    return shipper
