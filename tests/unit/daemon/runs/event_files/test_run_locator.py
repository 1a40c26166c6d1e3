"""Where the directories of runs lie, also when the disk does not say."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from boardd.core.refusals import Refusal
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.run_locator import RunLocator
from boardd_protos import boardd_pb2 as pb


def locate(
    root: Path, *logdirs: str, paths: list[str] | None = None, patience_secs: float = 30.0
) -> tuple[dict[str, str | Refusal], dict[str, str]]:
    async def main() -> tuple[dict[str, str | Refusal], dict[str, str]]:
        with ThreadPoolExecutor(2) as threads:
            locator = RunLocator(Roots([root]), threads, patience_secs)
            runs = {logdir: pb.RunDefinition(logdir=logdir) for logdir in logdirs}
            return await locator.logdirs(runs), await locator.paths(paths or [])

    return asyncio.run(main())


def test_links_are_followed_and_what_leads_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "out").symlink_to("/etc")
    names = [str(tmp_path / name / "x") for name in ("link", "real", "out")]
    logdirs, paths = locate(tmp_path, "link", "out", "a/..", paths=names)
    assert logdirs["link"] == str(tmp_path / "real")
    for name in ("out", "a/.."):
        refusal = logdirs[name]
        assert isinstance(refusal, Refusal)
        assert refusal.reason == pb.OUTSIDE_ROOTS
    assert paths == {name: str(tmp_path / "real" / "x") for name in names[:2]}


def test_a_disk_that_hangs_leaves_paths_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    realpath, opened = os.path.realpath, threading.Event()

    def hang(path: str) -> str:
        if "hung" in os.fspath(path):
            assert opened.wait(60)
        return realpath(path)

    monkeypatch.setattr(os.path, "realpath", hang)
    threading.Timer(1.0, opened.set).start()
    begin = time.monotonic()
    logdirs, paths = locate(tmp_path, "hung", "a/..", paths=["/hung"], patience_secs=0.05)
    assert logdirs["hung"] == str(tmp_path / "hung")
    refusal = logdirs["a/.."]
    assert isinstance(refusal, Refusal)
    assert paths == {}
    assert opened.is_set()  # the threads are waited for here, and by nobody else
    assert time.monotonic() - begin < 30.0
