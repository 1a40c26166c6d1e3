"""Stock TensorBoard that follows a logdir over each of its loaders, and what it shows."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from support.browser import TensorBoard
from support.waiting import wait_until

#: The flags of each loader.
LOADERS = {"rust": "--load_fast=true", "python": "--load_fast=false"}
#: More points than any tag gets: with 0, which keeps all, TensorBoard 2.21 answers with none.
FLAGS = ("--reload_interval=1", "--samples_per_plugin=scalars=10000000")
#: Until what is written is shown.
SHOWN_SECS = 120.0


class Board:
    """One TensorBoard, asked for scalars as its page asks."""

    def __init__(self, loader: str, url: str) -> None:
        self._loader, self._url = loader, url

    def shown(self) -> int:
        """How many points of scalars it shows, of all runs and tags."""
        return sum(
            len(self._get("scalars", run=run, tag=tag))
            for run, tags in self._get("tags").items()
            for tag in tags
        )

    def wait_shown(self, count: int) -> None:
        """Waits until it shows ``count`` points, and no more."""
        seen: list[int] = []

        def is_shown() -> bool:
            seen.append(self.shown())
            return seen[-1] == count

        try:
            wait_until(is_shown, timeout_secs=SHOWN_SECS)
        except AssertionError:
            raise AssertionError(f"{self._loader} shows {seen[-1]} of {count} points") from None

    def _get(self, what: str, **query: str) -> Any:
        url = f"{self._url}data/plugin/scalars/{what}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=60) as reply:
            return json.load(reply)


@contextmanager
def tailing(logdir: Path) -> Iterator[list[Board]]:
    """One TensorBoard for each loader, both following ``logdir``."""
    with ExitStack() as stack:
        yield [
            Board(loader, stack.enter_context(TensorBoard(logdir, flag, *FLAGS)).url)
            for loader, flag in LOADERS.items()
        ]
