"""The files of one run, on threads that others use too."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from boardd.core.runs.run_state import RunState
from boardd.events import event
from boardd.events.values import scalar_value
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.descriptors import Descriptors
from boardd.runs.event_files.run_files import RunFiles
from boardd.runs.threads import hang_notice
from boardd.runs.threads.brief_calls import BriefCalls
from boardd.runs.threads.writer_threads import WriterThreads

SESSION = b"session"


def new_run(path: Path) -> RunState:
    run = RunState(str(path), str(path), "", 10)
    run.progress.sync_failures.join(SESSION)
    return run


def refuse(run: RunState) -> None:
    raise AssertionError(run.refusal)


def with_threads(test: Callable[[WriterThreads, BriefCalls], Awaitable[None]]) -> None:
    """Runs ``test`` with one thread."""

    async def main() -> None:
        threads = WriterThreads(1)
        brief_calls = BriefCalls(threads, 1)
        try:
            await asyncio.wait_for(test(threads, brief_calls), 60.0)
        finally:
            brief_calls.close()
            threads.shutdown()

    asyncio.run(main())


def test_a_run_that_waits_for_a_thread_does_not_call_its_disk_hanging(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hang_notice, "HANGING_SECS", 0.1)

    async def test(threads: WriterThreads, brief_calls: BriefCalls) -> None:
        run = new_run(tmp_path / "run")
        files = RunFiles(run, Roots([tmp_path]), threads, brief_calls, refuse)
        loop = asyncio.get_running_loop()
        busy = loop.run_in_executor(threads, time.sleep, 0.5)
        opened = asyncio.ensure_future(files.open())
        while not busy.done():
            assert run.progress.trouble == ""
            await asyncio.sleep(0.01)
        assert await opened
        await files.close()

    with_threads(test)


def test_close_notes_what_it_could_not_make_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(threads: WriterThreads, brief_calls: BriefCalls) -> None:
        descriptors = Descriptors(3)
        runs = [new_run(tmp_path / name) for name in "ab"]
        first, second = (
            RunFiles(
                *(run, Roots([tmp_path]), threads, brief_calls, refuse), descriptors=descriptors
            )
            for run in runs
        )
        scalar = event.summary(1.7e9, 1, scalar_value("loss", 1.0))
        for files in (first, second):
            assert await files.open()
        for files in (first, second):  # the second takes the descriptor of the first
            await files.append(scalar, ())
        name, open_file = runs[0].progress.file, os.open

        def failing(path: str, *arguments: int, **options: int) -> int:
            if path == name:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return open_file(path, *arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", failing)
            await first.close()
        await second.close()
        assert "Input/output error" in runs[0].progress.sync_failures.tell(SESSION)
        assert runs[1].progress.sync_failures.tell(SESSION) == ""

    with_threads(test)
