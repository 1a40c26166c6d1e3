"""What several ranks make together, read by TensorBoard's loaders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from boardd.partials.partial import Partial
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.event_file import EventFile
from boardd.summaries.summarize import present, reduce_shared
from boardd_protos import boardd_pb2 as pb
from support.summaries import Record, chunks, record
from support.tensorboard_reader import LOADERS, Loader, open_reader

RANKS = 3


def contribution(given: Record, rank: int) -> Partial:
    payload = given.payload.SerializeToString()
    return reduce_shared("tag", 5, 2.0, payload, chunks(*given.arrays), 1 << 30, rank=rank)


def write(logdir: Path, records: list[Record]) -> None:
    first, *others = (contribution(given, rank) for rank, given in enumerate(records))
    for other in others:
        first = other.merge(first)
    with Roots([logdir]).open_run("run") as directory:
        writer = EventFile(directory)
        writer.append(present("tag", 5, 2.0, first).event)
        writer.close()


@pytest.mark.parametrize("loader", LOADERS)
def test_a_histogram_of_all_ranks(tmp_path: Path, loader: Loader) -> None:
    random = np.random.default_rng(2)
    parts = [random.normal(rank, 1 + rank, 1000) for rank in range(RANKS)]
    write(tmp_path, [record(part, histogram=pb.Histogram(count=30)) for part in parts])
    with open_reader(tmp_path, loader) as reader:
        (point,) = reader.histograms()["run"]["tag"]
    everything = np.concatenate(parts)
    assert point.step == 5
    lefts, rights, counts = np.array(point.buckets).T
    assert counts.sum() == everything.size
    edges = np.append(lefts, rights[-1])
    # One loader has float32, which holds the inner edges but not the extremes.
    extremes = [everything.min(), everything.max()]
    np.testing.assert_allclose(edges[[0, -1]], extremes, rtol=1e-6)
    edges[[0, -1]] = extremes
    np.testing.assert_array_equal(np.histogram(everything, bins=edges)[0], counts)


@pytest.mark.parametrize("loader", LOADERS)
def test_images_of_all_ranks(tmp_path: Path, loader: Loader) -> None:
    images = [np.full((4, 6, 3), 50 * rank, np.uint8) for rank in range(RANKS)]
    write(tmp_path, [record(image, image=pb.Image(dataformats="HWC")) for image in images])
    with open_reader(tmp_path, loader) as reader:
        (point,) = reader.images()["run"]["tag"]
    assert (point.width, point.height) == (RANKS * (6 + 2) + 2, 4 + 2 * 2)
