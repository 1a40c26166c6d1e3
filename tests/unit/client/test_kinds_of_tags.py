"""A tag that is one kind of summary in a run is refused as another, at the call."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest
from boardd_client import SummaryWriter
from support.scripted_daemon import ScriptedDaemon
from support.scripted_writer import writer

pytestmark = pytest.mark.usefixtures("no_autostart")

Log = Callable[[SummaryWriter, str], None]
KINDS: dict[str, Log] = {
    "scalar": lambda sw, tag: sw.add_scalar(tag, 1.0, 1),
    "histogram": lambda sw, tag: sw.add_histogram(tag, [1.0, 2.0], 1),
    "image": lambda sw, tag: sw.add_image(tag, np.zeros((3, 4, 4), np.float32), 1),
    "audio": lambda sw, tag: sw.add_audio(tag, np.zeros(4, np.float32), 100, 1),
    "text": lambda sw, tag: sw.add_text(tag, "text", 1),
    "tensor": lambda sw, tag: sw.add_tensor(tag, np.zeros(3), 1),
    "pr curve": lambda sw, tag: sw.add_pr_curve(tag, [0, 1], [0.25, 0.75], 5, 1),
}


def test_tags_that_are_kept_are_told_apart(scripted: ScriptedDaemon) -> None:
    with writer(scripted, keep_tags=True) as sw:
        KINDS["scalar"](sw, "x y")
        KINDS["histogram"](sw, "x_y")
        with pytest.raises(ValueError, match="'x y' is a scalar"):
            KINDS["histogram"](sw, "x y")


@pytest.mark.parametrize("first", KINDS)
def test_a_second_kind_is_refused_and_the_first_goes_on(
    first: str, scripted: ScriptedDaemon
) -> None:
    with writer(scripted) as sw:
        KINDS[first](sw, "x y")
        for second, log in KINDS.items():
            if second == first:
                continue
            message = f"tag 'x_y' is a {first} in this run and cannot be a {second} too"
            with pytest.raises(ValueError, match=re.escape(message)):
                log(sw, "x_y")
        KINDS[first](sw, "x y")
        assert sw.flush(timeout=60)
        assert sw.statistics().accepted == 2


def test_two_writers_of_a_run_know_each_others_kinds(scripted: ScriptedDaemon) -> None:
    with writer(scripted) as one, writer(scripted) as same, writer(scripted, run="b") as other:
        one.add_scalar("x", 1.0, 1)
        with pytest.raises(ValueError, match="tag 'x' is a scalar in this run"):
            same.add_histogram("x", [1.0], 1)
        other.add_histogram("x", [1.0], 1)
        # Curves are scalars in sub-runs of their own.
        same.add_histogram("curves", [1.0], 1)
        one.add_scalar("curves", {"a": 1.0}, 1)


def test_tags_that_are_made_of_others_count_too(scripted: ScriptedDaemon) -> None:
    with writer(scripted) as sw:
        sw.add_mesh("mesh", np.zeros((1, 3, 3)), global_step=1)
        sw.add_scalar("mesh", 1.0, 1)
        sw.add_scalar("mesh_FACE", 1.0, 1)
        with pytest.raises(ValueError, match="tag 'mesh_VERTEX' is a mesh in this run"):
            sw.add_scalar("mesh_VERTEX", 1.0, 1)
        with pytest.raises(ValueError, match="tag 'mesh_FACE' is a scalar in this run"):
            sw.add_mesh("mesh", np.zeros((1, 3, 3)), faces=[[[0, 1, 2]]], global_step=2)
        sw.add_custom_scalars({"a": {"b": ["Multiline", ["x"]]}})
        with pytest.raises(ValueError, match="is a custom scalar in this run"):
            sw.add_scalar("custom_scalars__config__", 1.0, 1)
