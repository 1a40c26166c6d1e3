"""How far long work is, told to whoever waits for it: merging, and writing what is held at exit."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

#: Pause between two lines where no bar can be drawn.
_LINE_SECS: Final = 10.0
#: Pause between two drawings of the bar.
_DRAW_SECS: Final = 0.1


class ProgressBar:
    """A bar on a terminal, else a line now and then; a context manager.

    ``name`` is what is done, ``total`` the work in ``unit``, divided by ``scale`` where it is
    shown. ``stream`` is the standard error by default, and ``clock`` gives seconds.
    """

    def __init__(
        self,
        name: str,
        total: int,
        unit: str,
        scale: int = 1,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._total = total
        self._unit = unit
        self._scale = scale
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._done = 0
        self._told_at = clock()
        console = Console(file=self._stream)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if console.is_terminal and not console.is_dumb_terminal:
            # Drawn by the one who works: no thread that a fork or an exit would have to know of.
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                TextColumn("{task.percentage:>3.0f}% of {task.fields[amount]}", markup=False),
                TimeRemainingColumn(),
                console=console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._task = self._bar.add_task(name, total=max(1, total), amount=self._amount)

    @property
    def _amount(self) -> str:
        return f"{self._total / self._scale:.0f} {self._unit}"

    def stage(self, name: str) -> None:
        """Says which part of the work is done next."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=name, refresh=True)

    def advance(self, amount: int) -> None:
        """Says that so much more was done."""
        self._done += amount
        now = self._clock()
        if self._bar is not None and self._task is not None:
            is_due = now - self._told_at >= _DRAW_SECS or self._done >= self._total
            self._bar.update(self._task, advance=amount, refresh=is_due)
        else:
            is_due = now - self._told_at >= _LINE_SECS
            if is_due:
                share = self._done / self._total if self._total else 1.0
                print(f"{self._name}: {share:.0%} of {self._amount}", file=self._stream, flush=True)
        if is_due:
            self._told_at = now

    def __enter__(self) -> ProgressBar:
        if self._bar is not None:
            self._bar.start()
            # A process that is ended at once could not show it again.
            self._bar.console.show_cursor(True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
