"""What a service in this process has written and counted, read for its tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from boardd.events.event_pb2 import Event
from boardd_protos import boardd_pb2 as pb

from support.raw_client import (
    Harness,
)
from support.tfrecords import read_records


def run_async(test: Callable[[Path], Coroutine[Any, Any, None]], tmp_path: Path) -> None:
    """Runs a test that ends within a minute, or fails it."""
    asyncio.run(asyncio.wait_for(test(tmp_path), 120.0))


def events_of(path: Path) -> list[Event]:
    """The events of a file, the version first, without marks, which show nothing."""
    events = [Event.FromString(data) for data in read_records(path.read_bytes())]
    return [event for event in events if event.WhichOneof("what")]


def values_of(harness: Harness, run: str = "run") -> list[tuple[int, str, float]]:
    """Step, tag and value of every scalar of a run, in the order of its files."""
    return [
        (event.step, value.tag, value.simple_value)
        for path in harness.files(run)
        for event in events_of(path)
        for value in event.summary.value
    ]


def steps_of(harness: Harness, run: str = "run") -> list[int]:
    """Steps of the values of a run, in the order of its files."""
    return [step for step, _, _ in values_of(harness, run)]


def reasons(harness: Harness) -> dict[str, int]:
    """Rejected records by the name of their reason."""
    rejected = harness.status().counters.rejected
    return {pb.Reason.Name(item.reason): item.records for item in rejected}
