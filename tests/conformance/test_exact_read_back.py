"""Exact values in the event files change nothing that TensorBoard's readers show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from boardd.events import event
from boardd.events.exact import ExactPartial, with_partial
from boardd.events.scalars import encode_scalars
from boardd.partials.codec import encode
from boardd.partials.histograms import histogram_of
from boardd.partials.partial import Partial
from boardd.reduce.histogram.bins import EqualWidth
from boardd.summaries.summarize import present
from support.independent_reader import events
from support.tensorboard_reader import LOADERS, Loader, open_reader
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

NAME = "events.out.tfevents.1700000000.host"
SCALAR, SUMMARY = 20112, 20113


def write_run(run: Path, *, is_exact: bool) -> Path:
    rng = np.random.default_rng(0)
    count = 200
    data = event.file_version(1e9)
    data += encode_scalars(
        np.arange(count) + 1e9,
        np.arange(count),
        np.where(np.arange(count) % 4, rng.normal(size=count), 0.5),
        np.arange(count) % 2,
        [b"loss", b"train/loss"],
        is_exact=is_exact,
    )
    for step in range(10):
        partial = Partial.of(0, histogram_of(rng.normal(size=500), EqualWidth(30)))
        shown = present("h", step, 1e9 + step, partial).event
        data += with_partial(shown, ExactPartial(b"h", encode(partial))) if is_exact else shown
    run.mkdir()
    (run / NAME).write_bytes(data)
    return run / NAME


@pytest.mark.parametrize("loader", LOADERS)
def test_readers_show_the_same_with_and_without_exact_values(
    tmp_path: Path, loader: Loader
) -> None:
    for name in ("exact", "plain"):
        file = write_run(tmp_path / name, is_exact=name == "exact")
        fields = [one.fields for one in events(file)]
        assert sum(SCALAR in one for one in fields) == (150 if name == "exact" else 0)
        assert sum(SUMMARY in one for one in fields) == (10 if name == "exact" else 0)
    with open_reader(tmp_path, loader) as reader:
        scalars, histograms = reader.scalars(), reader.histograms()
    assert len(scalars["plain"]["loss"]) == 100
    assert scalars["exact"] == scalars["plain"]
    assert len(histograms["plain"]["h"]) == 10
    for exact, plain in zip(histograms["exact"]["h"], histograms["plain"]["h"], strict=True):
        assert exact[:2] == plain[:2]
        assert exact.buckets.tolist() == plain.buckets.tolist()


def test_scripts_that_read_event_files_find_the_same(tmp_path: Path) -> None:
    found = []
    for is_exact in (False, True):
        file = write_run(tmp_path / str(is_exact), is_exact=is_exact)
        accumulator = EventAccumulator(str(file), {"scalars": 0, "histograms": 0})
        accumulator.Reload()
        found.append((accumulator.Tags(), accumulator.Scalars("loss"), accumulator.Histograms("h")))
    assert found[0] == found[1]
