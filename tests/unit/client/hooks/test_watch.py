"""Which steps a watch logs, whoever counts them, and how it ends."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from boardd_client import SummaryWriter
from boardd_client.hooks.watch import Watch, checked_writer, interval
from boardd_protos.frame import FrameKind
from support.scripted_daemon import ScriptedDaemon
from support.scripted_writer import writer

pytestmark = pytest.mark.usefixtures("no_autostart")

Tensors = Callable[[], Iterable[tuple[str, Any]]]


def weights() -> Iterable[tuple[str, Any]]:
    yield "w", np.arange(3.0)


def watch(
    sw: SummaryWriter, tensors: Tensors = weights, *, every: int = 1, initial_step: int = 0
) -> Watch:
    return Watch(sw, tensors, every=every, bins=10, initial_step=initial_step)


def steps(scripted: ScriptedDaemon, sw: SummaryWriter) -> list[int]:
    """The steps of all histograms that were logged, in call order."""
    assert sw.flush(timeout=60)
    kinds = (FrameKind.SUMMARY, FrameKind.SERIES_SUMMARIES)
    return [frame.step for frame in scripted.all_frames if frame.kind in kinds]


def test_the_first_step_and_then_every_nth_is_logged(scripted: ScriptedDaemon) -> None:
    with writer(scripted) as sw:
        watched = watch(sw, every=3, initial_step=7)
        for _ in range(8):
            watched.count()
        assert steps(scripted, sw) == [7, 10, 13]
        assert watched.next_step == 15


def test_counting_by_hand_takes_the_hook_away(scripted: ScriptedDaemon) -> None:
    ended = []
    with writer(scripted) as sw:
        watched = watch(sw)
        watched.count_automatically(lambda: ended.append(True))
        watched.step()
        watched.step()
        assert ended == [True]
        assert steps(scripted, sw) == [0, 1]


def test_a_step_that_the_hook_has_counted_is_not_counted_by_hand(
    scripted: ScriptedDaemon,
) -> None:
    with writer(scripted) as sw:
        watched = watch(sw)
        watched.count_automatically(lambda: None)
        watched.count()
        watched.step()
        assert steps(scripted, sw) == [0]
        watched.step()
        assert steps(scripted, sw) == [0, 1]


def test_a_watch_that_is_removed_logs_no_more(scripted: ScriptedDaemon) -> None:
    ended = []
    with writer(scripted) as sw:
        with watch(sw) as watched:
            watched.count_automatically(lambda: ended.append(True))
            watched.count()
        watched.remove()
        watched.count()
        assert ended == [True]
        assert steps(scripted, sw) == [0]


def test_what_cannot_be_logged_is_told_once_and_the_rest_is_logged(
    scripted: ScriptedDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    def tensors() -> Iterable[tuple[str, Any]]:
        yield "bad", object()
        yield from weights()

    with writer(scripted) as sw:
        watched = watch(sw, tensors)
        with caplog.at_level(logging.WARNING, "boardd_client"):
            watched.count()
            watched.count()
        assert steps(scripted, sw) == [0, 1]
    told = [text for text in caplog.messages if "bad is watched but cannot be logged" in text]
    assert len(told) == 1


def test_an_interval_is_one_or_more() -> None:
    assert interval(1) == 1
    with pytest.raises(ValueError, match="every is 0, expected 1 or more"):
        interval(0)
    with pytest.raises(TypeError, match="every"):
        interval("often")


def test_something_else_is_no_writer() -> None:
    with pytest.raises(TypeError, match="writer is a dict, expected a SummaryWriter"):
        checked_writer({})
