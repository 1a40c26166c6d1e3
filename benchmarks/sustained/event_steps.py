"""Reads steps from event files with TensorBoard's own loader."""

from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing import (
    directory_watcher,
    event_file_loader,
    io_wrapper,
)


def watcher(run: Path) -> directory_watcher.DirectoryWatcher:
    """What TensorBoard follows a run's event files with."""
    return directory_watcher.DirectoryWatcher(
        str(run),
        event_file_loader.LegacyEventFileLoader,
        io_wrapper.IsTensorFlowEventsFile,
    )


def steps_by_tag(run: Path) -> dict[str, list[int]]:
    """The steps of each tag of one run, in the order of the files."""
    found: dict[str, list[int]] = {}
    for event in watcher(run).Load():
        for value in event.summary.value:
            found.setdefault(value.tag, []).append(event.step)
    return found


def repeated(steps: list[int]) -> int:
    """The number of one tag's steps that are repeated; the others must only go forward.

    Raises ``ValueError`` when a step is new and lies before an earlier one.
    """
    highest = -1
    seen: set[int] = set()
    for step in steps:
        if step in seen:
            continue
        if step < highest:
            raise ValueError(f"step {step} after {highest}")
        seen.add(step)
        highest = step
    return len(steps) - len(seen)
