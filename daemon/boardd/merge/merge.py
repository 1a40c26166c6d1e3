"""Merges the event files of separate ranks into a new logdir, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path, PurePath
from types import FrameType
from typing import Protocol

from boardd.errors import CommandError, ConfigError
from boardd.merge.inputs import GroupInputs, event_files, find_inputs
from boardd.merge.merge_run import MergeOptions, RunMerge
from boardd.merge.report import RunReport


class Progress(Protocol):
    """Who is told how far a merge is."""

    def stage(self, name: str) -> None:
        """The run ``name`` is merged next."""

    def advance(self, amount: int) -> None:
        """So many bytes more were read."""


class _NoProgress:
    def stage(self, name: str) -> None:
        pass

    def advance(self, amount: int) -> None:
        pass


#: Takes the bytes that are to be read in all.
ShowProgress = Callable[[int], AbstractContextManager[Progress]]


def _show_nothing(total_bytes: int) -> AbstractContextManager[Progress]:
    return nullcontext(_NoProgress())


def merge(
    logdirs: Sequence[Path],
    out: Path,
    options: MergeOptions,
    show_progress: ShowProgress = _show_nothing,
) -> list[RunReport]:
    """Merges ``logdirs``, see ``find_inputs``, into the new directory ``out``.

    ``out`` appears when all of it is written and synced; after an error, SIGINT or SIGTERM
    nothing is left.

    Raises ``ConfigError`` if the inputs are ambiguous or ``out`` cannot be, and
    ``CommandError`` if the disk fails or ``options`` allow too little memory.
    """
    out = Path(os.path.abspath(out))
    _check_out(out, logdirs)
    try:
        groups = find_inputs(logdirs)
        with _directory(out) as new:
            runs = _runs(groups)
            return _merged(runs, new, options, show_progress)
    except OSError as error:
        raise CommandError(f"{error.filename or out}: {error.strerror or error}") from error


def _runs(groups: Sequence[GroupInputs]) -> dict[str, dict[int, Path]]:
    """The ranks' directories by the path of the merged run."""
    runs: dict[str, dict[int, Path]] = {}
    for group in groups:
        for run, directories in group.runs.items():
            path = _text(group.path / run)
            if path in runs:
                given = next(iter(runs[path].values())), next(iter(directories.values()))
                raise ConfigError(
                    f"{given[0]} and {given[1]} would both become the run {path!r}; "
                    "merge them by themselves"
                )
            runs[path] = directories
    return runs


def _text(path: PurePath) -> str:
    """A relative path, empty if it is the directory itself."""
    return "" if path == PurePath() else str(path)


def _merged(
    runs: Mapping[str, Mapping[int, Path]],
    new: Path,
    options: MergeOptions,
    show_progress: ShowProgress,
) -> list[RunReport]:
    total_bytes = sum(
        2 * file.stat().st_size
        for directories in runs.values()
        for directory in directories.values()
        for file in event_files(directory)
    )
    reports = []
    with show_progress(total_bytes) as progress:
        for path, directories in runs.items():
            progress.stage(path or ".")
            merging = RunMerge(path, directories, options, progress.advance)
            merging.run(new)
            reports.append(merging.report)
    return reports


def _check_out(out: Path, logdirs: Sequence[Path]) -> None:
    resolved = out.resolve()
    for logdir in logdirs:
        given = logdir.resolve()
        if resolved == given or given in resolved.parents or resolved in given.parents:
            raise ConfigError(
                f"--out {out} and the input {logdir} overlap; inputs are never written to, "
                "so name a directory elsewhere"
            )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out} exists and is not empty; name a new directory")


@contextlib.contextmanager
def _directory(out: Path) -> Iterator[Path]:
    """Yields a directory that becomes ``out`` in the end, or is removed."""
    out.parent.mkdir(parents=True, exist_ok=True)
    # Nobody else has this name, so it may be removed wherever a signal comes, while it is made too.
    new = out.parent / f".{out.name}.boardd-merge-{uuid.uuid4().hex}"
    with _terminable():
        try:
            new.mkdir()
            yield new
            new.rename(out)
            _sync(out.parent)
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Lets SIGTERM end the program as Ctrl-C does, with what has to be removed."""

    def leave(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
