"""``Watch``: histograms of many tensors at every N-th step, whatever counts the steps."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from boardd_client.calls import arguments
from boardd_client.calls.batches import Watched
from boardd_client.hooks.health import Health
from boardd_client.writer import SummaryWriter

_logger = logging.getLogger("boardd_client")


class Watch:
    """A watched model. Made by ``watch`` of a framework's module.

    A context manager, which ends the watch.

    Args:
        writer: where to log.
        tensors: yields tag and value of everything to be logged, anew each time.
        every: log each ``every``-th step; 1 or more.
        bins: as of ``SummaryWriter.add_histogram``.
        initial_step: number of the first step.
        prefix: begins every tag of ``tensors``.
        health: also log norms, zeros, NaN and infinity of the tensors; see ``Health``.

    Raises:
        TypeError, ValueError: an argument is not as described.
    """

    def __init__(
        self,
        writer: SummaryWriter,
        tensors: Callable[[], Iterable[tuple[str, Any]]],
        *,
        every: int,
        bins: Any,
        initial_step: int,
        prefix: str = "",
        health: bool = False,
    ) -> None:
        self._writer = checked_writer(writer)
        self._tensors = tensors
        self._every = interval(every)
        self._bins = arguments.bins(bins)
        self._initial_step = self._next_step = arguments.step(initial_step)
        self._end_automatic: Callable[[], None] | None = None
        self._removed = False
        self._refused: set[str] = set()
        self._health = Health(writer, prefix) if health else None

    @property
    def next_step(self) -> int:
        """The number of the next step, ``initial_step`` plus the steps counted so far."""
        return self._next_step

    def step(self) -> None:
        """Counts a step by hand, and logs it if its turn has come.

        For loops without an optimizer: call it once a step, when the gradients are
        there. From the first call on, only such calls count.
        """
        if self._end_automatic is not None:
            self._end_automatic()
            self._end_automatic = None
            if self._next_step != self._initial_step:
                return  # the optimizer has counted this step already
        self.count()

    def remove(self) -> None:
        """Ends the watch and takes its hooks away. What was logged stays. May be called again."""
        self._removed = True
        if self._end_automatic is not None:
            self._end_automatic()
            self._end_automatic = None

    def count_automatically(self, end: Callable[[], None]) -> None:
        """Notes that a hook calls ``count``, and that ``end`` takes it away."""
        self._end_automatic = end

    def count(self) -> None:
        """Counts a step. Raises nothing, whatever the tensors are."""
        if self._removed:
            return
        step = self._next_step
        self._next_step += 1
        if (step - self._initial_step) % self._every:
            return
        tensors = dict(self._tensors())
        watched = Watched() if self._health is None else self._health.watched(tensors)
        self._writer._log_arrays(tensors, step, self._bins, watched=watched)
        # Such a kind cannot be logged: it is sparse, or has parts on other hosts.
        for tag, error in watched.refused.items():
            if tag not in self._refused:
                _logger.warning("boardd: %s is watched but cannot be logged: %s", tag, error)
        self._refused = set(watched.refused)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.remove()


def interval(every: object) -> int:
    """Checks a number of steps, 1 or more."""
    steps = arguments.count(every, "every")
    if not steps:
        raise ValueError("every is 0, expected 1 or more steps")
    return steps


def checked_writer(writer: object) -> SummaryWriter:
    """Checks that ``writer`` is one; the arguments of hooks are easily swapped."""
    if not isinstance(writer, SummaryWriter):
        raise TypeError(f"writer is a {type(writer).__name__}, expected a SummaryWriter")
    return writer
