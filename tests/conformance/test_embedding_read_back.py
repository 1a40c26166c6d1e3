"""An embedding as the daemon makes it, read by TensorBoard where the run holds nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.embedding_files import write_embedding
from boardd.runs.event_files.event_file import EventFile
from boardd_protos import boardd_pb2 as pb
from sklearn.decomposition import PCA
from support.summaries import Record, record, reduction
from support.tensorboard_plugins import PluginClient, ProjectorPlugin, TextPlugin
from support.tensorboard_reader import LOADERS, Loader, open_reader

RANDOM = np.random.default_rng(9)


def write(logdir: Path, message: Record) -> None:
    made = reduction(message, tag="words")
    assert made.embedding is not None
    with Roots([logdir]).open_run("run") as directory:
        write_embedding(directory, made.embedding)
        writer = EventFile(directory)
        writer.append(made.event)
        writer.close()


def shown(plugin: PluginClient, name: str, columns: int) -> np.ndarray:
    return np.frombuffer(plugin.get("/tensor", run="run", name=name), "<f4").reshape(-1, columns)


@pytest.mark.parametrize("loader", LOADERS)
def test_a_raw_matrix(tmp_path: Path, loader: Loader) -> None:
    matrix = RANDOM.normal(size=(9, 5)).astype(np.float32)
    write(tmp_path, record(matrix, embedding=pb.Embedding(has_step=True)))
    with open_reader(tmp_path, loader) as reader:
        plugin = PluginClient(ProjectorPlugin, reader, tmp_path)
        assert plugin.json("/runs") == ["run"]
        np.testing.assert_array_equal(shown(plugin, "words_000007", 5), matrix)


@pytest.mark.parametrize("loader", LOADERS)
def test_a_projected_matrix_and_what_is_said_of_it(tmp_path: Path, loader: Loader) -> None:
    matrix = RANDOM.normal(size=(50, 30)) * 0.7 ** np.arange(30)
    labels = np.arange(50)
    options = pb.Embedding(project_to=4, labels_tensor=1)
    write(tmp_path, record(matrix, labels, embedding=options))
    reference = PCA(4, svd_solver="full").fit(matrix)
    with open_reader(tmp_path, loader) as reader:
        plugin = PluginClient(ProjectorPlugin, reader, tmp_path)
        points = shown(plugin, "words", 4)
        np.testing.assert_allclose(points, reference.transform(matrix), atol=1e-5)
        metadata = plugin.get("/metadata", run="run", name="words", num_rows=50)
        assert [int(line) for line in metadata.split()] == labels.tolist()
        text = PluginClient(TextPlugin, reader, tmp_path)
        (item,) = text.json("/text", run="run", tag="words/projection")
        assert f"{reference.explained_variance_ratio_.sum():.2%}" in item["text"]
        assert "<table>" in item["text"]
        assert "<td" in item["text"]
