"""Writes and syncs are counted where they are made: as many as there are, and no other call."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from boardd.core.durations import Durations
from boardd.events.embedding import EmbeddingFiles
from boardd.runs.directories.logdir import Roots, RunDirectory
from boardd.runs.event_files import live_file
from boardd.runs.event_files.embedding_files import write_embedding
from boardd.runs.event_files.event_file import EventFile
from boardd.runs.journal.journal_reader import JournalReader
from support.journal_life import JournalLife


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[RunDirectory]:
    with Roots([tmp_path]).open_run("run") as run:
        yield run


def count(durations: Durations) -> int:
    return sum(durations.snapshot()[0])


def counts(directory: RunDirectory) -> tuple[int, int]:
    """Of writes, and of syncs."""
    return count(directory.timings.write), count(directory.timings.sync)


def test_a_sync_that_does_nothing_is_none(directory: RunDirectory) -> None:
    file = EventFile(directory)
    file.sync()
    assert counts(directory) == (0, 0)
    file.append(b"event")
    assert counts(directory) == (1, 0)
    file.sync()
    file.sync()
    assert counts(directory) == (1, 1)
    file.append(b"event")
    file.end_file()
    file.close()
    assert counts(directory) == (2, 2), "that of a file that ends is one too"


def test_a_write_is_without_the_sync_of_the_file_that_it_leaves(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = EventFile(directory)
    file.append(b"event")
    writing = os.write
    failures = [OSError(errno.EIO, "Input/output error")]

    def write(fd: int, data: memoryview) -> int:
        if failures:
            raise failures.pop()
        return writing(fd, data)

    def fsync(fd: int) -> None:
        assert counts(directory)[0] == 2, "no write is being measured"

    monkeypatch.setattr(os, "write", write)
    monkeypatch.setattr(os, "fsync", fsync)
    file.append(b"event")
    file.close()
    assert counts(directory) == (3, 1)


def test_those_of_all_runs_are_the_roots(tmp_path: Path) -> None:
    roots = Roots([tmp_path])
    for name in "ab":
        with roots.open_run(name) as directory:
            file = EventFile(directory)
            file.append(b"event")
            file.sync()
            file.close()
    assert count(roots.timings.write) == count(roots.timings.sync) == 2


def test_the_files_of_an_embedding_are_synced(directory: RunDirectory) -> None:
    write_embedding(directory, EmbeddingFiles("e", b"\xff" * 16, (2, 2)))
    assert counts(directory) == (0, 2), "its tensor and the config"


def test_journals_are_written_and_synced(tmp_path: Path) -> None:
    life = JournalLife(tmp_path, 1)
    life.append(life.begin())
    life.append(life.log(0, 3))
    assert counts(life.directory) == (2, 0)
    reader = JournalReader(life.path, life.directory.timings)
    reader.read(life.journal.entries, 1 << 20)
    reader.sync()
    reader.close()
    life.close()
    assert counts(life.directory) == (2, 1)


def test_a_write_that_fails_is_without_what_is_done_about_it(
    directory: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, counted = EventFile(directory), list[int]()
    file.append(b"event")
    writing = os.write
    failures = [OSError(errno.EIO, "Input/output error")]

    def write(fd: int, data: memoryview) -> int:
        if failures:
            raise failures.pop()
        return writing(fd, data)

    def look(record: logging.LogRecord) -> bool:
        counted.append(count(directory.timings.write))
        return True

    monkeypatch.setattr(os, "write", write)
    logger = logging.getLogger(live_file.__name__)
    logger.addFilter(look)
    try:
        file.append(b"event")
    finally:
        logger.removeFilter(look)
    assert counted == [2], "it is counted before its failure is logged"
    assert count(directory.timings.write) == 3
    file.close()
