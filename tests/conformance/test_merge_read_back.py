"""What other programs wrote, merged, as TensorBoard shows it."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd.merge.merge import merge
from boardd.merge.merge_run import MergeOptions
from boardd.merge.report import RunReport
from PIL import Image
from support.tensorboard_reader import LOADERS, Loader, open_reader
from tensorboardX import SummaryWriter as TensorboardXWriter

RANKS = 3
STEPS = 4

Make = Callable[[str], Any]


def torch_writer(logdir: str) -> Any:
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    return tensorboard.SummaryWriter(logdir)


writers = pytest.mark.parametrize("make", [TensorboardXWriter, torch_writer])
loaders = pytest.mark.parametrize("loader", LOADERS)


def merged(root: Path) -> list[RunReport]:
    return merge([root / "ranks"], root / "out", MergeOptions())


def values_of(rank: int, step: int) -> np.ndarray:
    """Multiples of 1/64, since the Python loader has edges in float32."""
    return np.random.default_rng(10 * rank + step).normal(rank, 1, 300).round(6) * 64 // 1 / 64


def log(root: Path, make: Make, call: Callable[[Any, int, int], None], ranks: int = RANKS) -> None:
    for rank in range(ranks):
        writer = make(str(root / "ranks" / f"rank_{rank}"))
        for step in range(STEPS):
            call(writer, rank, step)
        writer.close()


@loaders
@writers
def test_scalars_are_their_mean_and_extremes(tmp_path: Path, make: Make, loader: Loader) -> None:
    log(tmp_path, make, lambda w, rank, step: w.add_scalar("loss", rank + step / 4, step))
    assert not any(warning for report in merged(tmp_path) for warning in report.warnings())
    with open_reader(tmp_path / "out", loader) as reader:
        scalars = reader.scalars()
    for run, rank in ((".", 1.0), ("min", 0.0), ("max", 2.0)):
        found = [(point.step, point.value) for point in scalars[run]["loss"]]
        assert found == [(step, rank + step / 4) for step in range(STEPS)]
    assert [point.value for point in scalars["."]["boardd/group/coverage"]] == [RANKS] * STEPS


@loaders
@writers
@pytest.mark.parametrize("bins", ["tensorflow", np.linspace(-10, 10, 41) + 1 / 128])
def test_histograms_of_equal_edges_are_that_of_all_values(
    tmp_path: Path, make: Make, loader: Loader, bins: Any
) -> None:
    log(
        tmp_path,
        make,
        lambda w, rank, step: w.add_histogram("h", values_of(rank, step), step, bins=bins),
    )
    (report,) = merged(tmp_path)
    assert not report.approximate
    with open_reader(tmp_path / "out", loader) as reader:
        found = reader.histograms()["."]["h"]
    for step, point in enumerate(found):
        together = np.concatenate([values_of(rank, step) for rank in range(RANKS)])
        left, right, counts = point.buckets.T
        filled = counts > 0
        edges = np.append(left[0], right)
        assert counts.tolist() == np.histogram(together, edges)[0].tolist()
        assert counts.sum() == together.size
        assert left[filled][0] <= together.min()
        assert right[filled][-1] >= together.max()
    assert len(found) == STEPS


@loaders
@writers
def test_histograms_of_other_edges_are_marked(tmp_path: Path, make: Make, loader: Loader) -> None:
    log(
        tmp_path,
        make,
        lambda w, rank, step: w.add_histogram("h", values_of(rank, step), step, bins=20),
    )
    (report,) = merged(tmp_path)
    assert report.approximate == {"h": STEPS}
    assert any("approximate" in line for line in report.warnings())
    with open_reader(tmp_path / "out", loader) as reader:
        found = reader.histograms()["."]["h"]
        (text,) = reader.tensors("text")["."]["h/ranks"]
    assert b"approximate" in text.array.item()
    for point in found:
        assert point.buckets[:, 2].sum() == pytest.approx(RANKS * 300)


@loaders
@writers
def test_images_are_tiles_in_rank_order(tmp_path: Path, make: Make, loader: Loader) -> None:
    def image(rank: int) -> np.ndarray:
        return np.full((3, 4, 5), 40 * (rank + 1), np.uint8)

    log(tmp_path, make, lambda w, rank, step: w.add_image("i", image(rank), step))
    merged(tmp_path)
    with open_reader(tmp_path / "out", loader) as reader:
        found = reader.images()["."]["i"]
    assert len(found) == STEPS
    pixels = np.asarray(Image.open(io.BytesIO(found[0].encoded)))
    shown = [int(value) for value in dict.fromkeys(pixels[pixels.shape[0] // 2, :, 0].tolist())]
    assert [value for value in shown if value] == [40, 80, 120]
    assert (pixels == 40).sum() == (pixels == 120).sum() == 3 * 4 * 5


@loaders
@writers
def test_curves_are_those_of_all_predictions(tmp_path: Path, make: Make, loader: Loader) -> None:
    def drawn(rank: int, step: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(10 * rank + step)
        return rng.integers(0, 2, 50), rng.random(50)

    log(
        tmp_path,
        make,
        lambda w, rank, step: w.add_pr_curve("p", *drawn(rank, step), step, num_thresholds=11),
    )
    for step in range(STEPS):
        labels, predictions = zip(*(drawn(rank, step) for rank in range(RANKS)), strict=True)
        writer = make(str(tmp_path / "together" / str(step)))
        writer.add_pr_curve(
            "p", np.concatenate(labels), np.concatenate(predictions), step, num_thresholds=11
        )
        writer.close()
    merged(tmp_path)
    with open_reader(tmp_path / "out", loader) as reader:
        found = reader.tensors("pr_curves")["."]["p"]
    with open_reader(tmp_path / "together", loader) as reader:
        expected = reader.tensors("pr_curves")
    for step, point in enumerate(found):
        (wanted,) = expected[str(step)]["p"]
        assert point.array[:4].tolist() == wanted.array[:4].tolist()
        assert point.array[4:] == pytest.approx(wanted.array[4:], abs=1e-6)


@loaders
@writers
def test_what_cannot_be_merged_is_the_lowest_rank_s(
    tmp_path: Path, make: Make, loader: Loader
) -> None:
    def call(writer: Any, rank: int, step: int) -> None:
        writer.add_text("t", f"rank {rank}", step)
        writer.add_mesh("m", np.full((1, 4, 3), rank, np.float32), global_step=step)

    log(tmp_path, make, call)
    merged(tmp_path)
    with open_reader(tmp_path / "out", loader) as reader:
        texts = reader.tensors("text")["."]["t/text_summary"]
        (meshes,) = reader.tensors("mesh")["."].values()
    assert [one.array.reshape(-1)[0] for one in texts] == [b"rank 0"] * STEPS
    assert [one.array.tolist() for one in meshes] == [np.zeros((1, 4, 3)).tolist()] * STEPS


@loaders
def test_hyperparameters_are_the_lowest_rank_s(tmp_path: Path, loader: Loader) -> None:
    def call(writer: Any, rank: int, step: int) -> None:
        if not step:
            writer.add_hparams({"rank": rank}, {"accuracy": rank / 4}, name="trial")

    log(tmp_path, TensorboardXWriter, call)
    merged(tmp_path)
    with open_reader(tmp_path / "out", loader) as reader:
        scalars = reader.scalars()
        contents = reader.plugin_contents("hparams") if loader == "python" else None
    assert scalars["trial"]["accuracy"][0].value == 0.25
    if contents is not None:
        with open_reader(tmp_path / "ranks", loader) as reader:
            first = reader.plugin_contents("hparams")["rank_0/trial"]
        assert contents["trial"] == first


@loaders
def test_tensorflow_s_second_form_is_merged(tmp_path: Path, loader: Loader) -> None:
    tensorflow = pytest.importorskip("tensorflow")
    for rank in range(RANKS):
        writer = tensorflow.summary.create_file_writer(str(tmp_path / "ranks" / f"rank_{rank}"))
        with writer.as_default():
            for step in range(STEPS):
                tensorflow.summary.scalar("loss", rank + step / 4, step)
                tensorflow.summary.histogram("h", np.linspace(0, 1, 100), step)
                tensorflow.summary.text("t", f"rank {rank}", step)
        writer.close()
    (report,) = merged(tmp_path)
    assert not report.approximate
    with open_reader(tmp_path / "out", loader) as reader:
        scalars, histograms = reader.scalars(), reader.histograms()
        texts = reader.tensors("text")
    assert [one.value for one in scalars["."]["loss"]] == [1 + step / 4 for step in range(STEPS)]
    assert [one.buckets[:, 2].sum() for one in histograms["."]["h"]] == [100 * RANKS] * STEPS
    assert texts["."]["t"][0].array.item() == b"rank 0"
