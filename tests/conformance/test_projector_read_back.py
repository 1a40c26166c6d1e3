"""An embedding's side files as TensorBoard's projector serves them to the browser."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd.events import event
from boardd.events.embedding import embedding_folder, metadata_tsv, reads_as_text
from boardd.events.values import scalar_value
from boardd.runs.directories.logdir import Roots, RunDirectory
from boardd.runs.event_files.embedding_files import EmbeddingFiles, write_embedding
from boardd.runs.event_files.event_file import EventFile
from PIL import Image
from support.tensorboard_plugins import PluginClient, ProjectorPlugin
from support.tensorboard_reader import LOADERS, Loader, open_reader
from support.waiting import wait_until

loaders = pytest.mark.parametrize("loader", LOADERS)

RANDOM = np.random.default_rng(5)
MATRIX = RANDOM.normal(size=(6, 4)).astype(np.float32)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[RunDirectory]:
    with Roots([tmp_path]).open_run("run") as directory:
        writer = EventFile(directory)
        writer.append(event.summary(1.0, 1, scalar_value("loss", 1.0)))
        writer.close()
        yield directory


@contextlib.contextmanager
def projector(logdir: Path, loader: Loader = "python") -> Iterator[PluginClient]:
    with open_reader(logdir, loader) as reader:
        yield PluginClient(ProjectorPlugin, reader, logdir)


def sprite(rows: int, width: int, height: int) -> bytes:
    file = io.BytesIO()
    side = int(np.ceil(np.sqrt(rows)))
    Image.new("L", (side * width, side * height)).save(file, "PNG")
    return file.getvalue()


def embedding(folder: str, matrix: np.ndarray = MATRIX, **options: Any) -> EmbeddingFiles:
    return EmbeddingFiles(folder, matrix.astype("<f4").tobytes(), matrix.shape, **options)


def shown(plugin: PluginClient, name: str, shape: tuple[int, int]) -> np.ndarray:
    data = plugin.get("/tensor", run="run", name=name)
    return np.frombuffer(data, "<f4").reshape(shape)


@loaders
def test_projector_shows_what_was_written(
    run: RunDirectory, tmp_path: Path, loader: Loader
) -> None:
    labels = metadata_tsv([[str(i), f"größe {i}"] for i in range(6)], ["number", "word"])
    png = sprite(6, 10, 12)
    name = embedding_folder("words/deep", 12)
    write_embedding(run, embedding(name, metadata=labels, sprite=png, sprite_dims=(10, 12)))
    write_embedding(run, embedding("plain", MATRIX[:3] * 2))
    with projector(tmp_path, loader) as plugin:
        assert plugin.json("/runs") == ["run"]
        config = plugin.json("/info", run="run")
        assert config["embeddings"] == [
            {
                "tensorName": "words/deep_000012",
                "tensorShape": [6, 4],
                "tensorPath": "words/deep_000012/tensors.bytes",
                "metadataPath": "words/deep_000012/metadata.tsv",
                "sprite": {
                    "imagePath": "words/deep_000012/sprite.png",
                    "singleImageDim": [10, 12],
                },
            },
            {
                "tensorName": "plain",
                "tensorShape": [3, 4],
                "tensorPath": "plain/tensors.bytes",
            },
        ]
        np.testing.assert_array_equal(shown(plugin, name, (6, 4)), MATRIX)
        np.testing.assert_array_equal(shown(plugin, "plain", (3, 4)), MATRIX[:3] * 2)
        assert plugin.get("/metadata", run="run", name=name, num_rows=100_000) == labels
        assert plugin.get("/sprite_image", run="run", name=name) == png


#: Matrices whose raw bytes TensorBoard would try to read as text, and near ones.
AWKWARD: dict[str, np.ndarray] = {
    "zeros": np.zeros((3, 2)),
    "twos": np.full((3, 2), 2.0),  # 00 00 00 40: NUL, NUL, NUL, @
    "one hot": np.eye(4),
    "zero rows first": np.concatenate([np.zeros((300_000, 1)), np.full((2, 1), -1.5)]),
    "a line end first": np.frombuffer(b"\n\n\n\n\xff\xff\x00\x00", "<f4").reshape(1, 2),
    "a line of text first": np.frombuffer(b"abc\n\xff\xff\x00\x00", "<f4").reshape(1, 2),
    "lines of digits": np.frombuffer(b"1\t2\n3\t4\n", "<f4").reshape(1, 2),
    "ends in half a character": np.frombuffer(b"abcdefg\xc3", "<f4").reshape(1, 2),
    "not finite": np.array([[np.nan, np.inf], [-np.inf, -0.0]]),
    "tiny": np.float32([[1e-45, 1.1754942e-38], [3.4028235e38, 0.1]]),
    "one number": np.float32([[0.1]]),
}


@pytest.mark.parametrize("name", AWKWARD)
def test_every_matrix_reads_back_bit_by_bit(run: RunDirectory, tmp_path: Path, name: str) -> None:
    matrix = AWKWARD[name].astype(np.float32)
    write_embedding(run, embedding("e", matrix))
    with projector(tmp_path) as plugin:
        read = shown(plugin, "e", matrix.shape)
    assert read.tobytes() == matrix.astype("<f4").tobytes()


def test_only_what_reads_as_text_is_written_as_text() -> None:
    as_text = {name for name, matrix in AWKWARD.items() if reads_as_text(raw(matrix))}
    assert as_text == {
        "zeros",
        "twos",
        "zero rows first",
        "a line of text first",
        "lines of digits",
    }
    assert not reads_as_text(raw(MATRIX))


def raw(matrix: np.ndarray) -> bytes:
    return matrix.astype("<f4").tobytes()


def test_random_bytes_read_back(run: RunDirectory, tmp_path: Path) -> None:
    # Bytes of few values, so that line ends, text and bytes that are none all occur.
    matrices = []
    for number in range(60):
        alphabet = np.frombuffer(b"\n\n1\t a\xc3\xbc\x00\xff"[: 6 + number % 5], np.uint8)
        data = RANDOM.choice(alphabet, 8 * (1 + number % 7))
        matrices.append(data.view("<f4").reshape(-1, 2))
        write_embedding(run, embedding(f"e{number}", matrices[-1]))
    with projector(tmp_path) as plugin:
        entries = plugin.json("/info", run="run")["embeddings"]
        forms = {entry["tensorPath"].rpartition("/")[2] for entry in entries}
        assert forms == {"tensors.bytes", "tensors.tsv"}
        for number, matrix in enumerate(matrices):
            # Text does not tell one NaN from another.
            np.testing.assert_array_equal(shown(plugin, f"e{number}", matrix.shape), matrix)


def test_labels_stay_with_their_rows(run: RunDirectory, tmp_path: Path) -> None:
    words = ["a", "", "two\nlines", "tab\there", " \r\n", "\u2028", "größe", "\ufeff"]
    write_embedding(run, embedding("one", np.ones((8, 2)), metadata=metadata_tsv(zip(words))))
    rows = [["1", ""], ["", "x"], ["", ""], ["a\tb", "c\x85d"]]
    write_embedding(
        run, embedding("two", np.ones((4, 2)), metadata=metadata_tsv(rows, ["first", "se\tcond"]))
    )
    with projector(tmp_path) as plugin:
        one = plugin.get("/metadata", run="run", name="one", num_rows=8).decode()
        two = plugin.get("/metadata", run="run", name="two", num_rows=4).decode()
    assert as_the_browser_reads(one) == [
        {"label": word}
        for word in ["a", "(empty)", "two lines", "tab here", *["(empty)"] * 2, "größe", "(empty)"]
    ]
    assert as_the_browser_reads(two) == [
        {"first": "1", "se cond": ""},
        {"first": "", "se cond": "x"},
        {"first": "(empty)", "se cond": ""},
        {"first": "a b", "se cond": "c d"},
    ]


def as_the_browser_reads(text: str) -> list[dict[str, str]]:
    """The projector's parseMetadata (projector_plugin/vz_projector/data-provider.ts)."""
    lines = [line for line in text.split("\n") if line.replace("\ufeff", "").strip()]
    names = ["label"]
    if "\t" in lines[0]:
        names = lines.pop(0).split("\t")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines]


@loaders
def test_run_that_holds_only_an_embedding(tmp_path: Path, loader: Loader) -> None:
    # TensorBoard asks its loader for the runs, which must have an event file.
    with Roots([tmp_path]).open_run("run") as directory:
        write_embedding(directory, embedding("e"))
        writer = EventFile(directory)
        writer.append(event.file_version(1.0))
        writer.close()
    with projector(tmp_path, loader) as plugin:
        assert plugin.json("/runs") == ["run"]


def test_config_of_mxboard_is_kept(run: RunDirectory, tmp_path: Path) -> None:
    # As mxboard 0.1.0 writes it: appended, with the matrix as text.
    for step in (1, 2):
        folder = tmp_path / "run" / f"e_00000{step}"
        folder.mkdir()
        (folder / "tensors.tsv").write_text("1.0\t2.0\n3.0\t4.0\n")
        (folder / "metadata.tsv").write_text("a\nb\n")
        with (tmp_path / "run" / "projector_config.pbtxt").open("a") as config:
            config.write(
                "embeddings {\n"
                f'tensor_name: "e_00000{step}"\ntensor_path: "e_00000{step}/tensors.tsv"\n'
                f'metadata_path: "e_00000{step}/metadata.tsv"\n'
                "}\n"
            )
    write_embedding(run, embedding("e_000002"))
    with projector(tmp_path) as plugin:
        entries = plugin.json("/info", run="run")["embeddings"]
        assert [entry["tensorName"] for entry in entries] == ["e_000001", "e_000002"]
        np.testing.assert_array_equal(shown(plugin, "e_000001", (2, 2)), [[1, 2], [3, 4]])
        np.testing.assert_array_equal(shown(plugin, "e_000002", (6, 4)), MATRIX)
    assert sorted(path.name for path in (tmp_path / "run" / "e_000002").iterdir()) == [
        "tensors.bytes"
    ]


def test_plugin_becomes_active(run: RunDirectory, tmp_path: Path) -> None:
    write_embedding(run, embedding("e"))
    with projector(tmp_path) as plugin:
        wait_until(plugin.plugin.is_active)  # it finds out on a thread of its own
