"""When a run's event files grew, and so when each step was whole in them."""

from __future__ import annotations

import bisect
import threading
import time
from pathlib import Path

from boardd.events.event_pb2 import Event
from comparison.event_files import records

POLL_SECS = 0.005
#: Of the tags under which the daemon tells something itself, whenever that is.
OWN_PREFIXES = ("boardd/", "system/")


class Growth:
    """Watches the event files of the directory ``run`` from a thread. A context manager."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        #: For each file, sizes in bytes and when they were seen, on CLOCK_MONOTONIC.
        self._seen: dict[Path, tuple[list[int], list[float]]] = {}

    def __enter__(self) -> Growth:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(POLL_SECS):
            self._look()
        self._look()

    def _look(self) -> None:
        for path in self._run.glob("*tfevents*"):
            sizes, times = self._seen.setdefault(path, ([], []))
            size_bytes = path.stat().st_size
            if not sizes or size_bytes > sizes[-1]:
                times.append(time.monotonic())
                sizes.append(size_bytes)

    def whole_at(self) -> dict[int, float]:
        """When the last point that was logged at each step was seen, on CLOCK_MONOTONIC."""
        found: dict[int, float] = {}
        for path, (sizes, times) in self._seen.items():
            for end, data in records(path):
                event = Event.FromString(data)
                if any(not value.tag.startswith(OWN_PREFIXES) for value in event.summary.value):
                    at = times[min(bisect.bisect_left(sizes, end), len(times) - 1)]
                    found[event.step] = max(found.get(event.step, at), at)
        return found
