from __future__ import annotations

import numpy as np
import pytest
from boardd.events.embedding import (
    ConfigError,
    EmbeddingFiles,
    embedding_folder,
    metadata_tsv,
    parse_config,
    reads_as_text,
    tensors_tsv,
)
from boardd_protos.invalid import InvalidTensorError


@pytest.mark.parametrize(
    ("step", "folder"),
    [(None, "mnist"), (12, "mnist_000012"), (1_234_567, "mnist_1234567"), (-5, "mnist_-00005")],
)
def test_folder_is_mxboards(step: int | None, folder: str) -> None:
    assert embedding_folder("mnist", step) == folder


def test_one_column_of_metadata_has_no_header() -> None:
    assert metadata_tsv([["a"], ["b"]]) == b"a\nb\n"
    assert metadata_tsv([["a"], ["b"]], ["name"]) == b"a\nb\n"


def test_several_columns_have_one() -> None:
    assert metadata_tsv([["a", "1"], ["b", "2"]], ["x", "y"]) == b"x\ty\na\t1\nb\t2\n"


@pytest.mark.parametrize("separator", list("\t\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029\0"))
def test_separators_in_a_label_become_spaces(separator: str) -> None:
    assert metadata_tsv([[f"a{separator}b"]]) == b"a b\n"


@pytest.mark.parametrize("label", ["", " ", "\t", "\n", "\u00a0", "\u3000", "\ufeff", "\r\n"])
def test_no_line_is_blank(label: str) -> None:
    assert metadata_tsv([[label], ["x"]]) == b"(empty)\nx\n"


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([["a"], ["b", "c"]], [], "row 1 .* 2 columns, not 1"),
        ([["a", "b"], ["c"]], ["x", "y"], "row 1 .* 1 columns, not 2"),
        ([["a"]], ["x", "y"], "row 0 .* 1 columns, not 2"),
        ([["a", "b"]], [], "2 columns with the header"),
        ([["a", "b"]], ["x"], "2 columns with the header"),
        ([["a", "b"]], ["x", "x"], "name of its own"),
        ([["a", "b"]], ["x", " "], "name of its own"),
        ([[]], [], "row 0 .* 0 columns"),
        ([["\ud800"]], [], "not Unicode"),
    ],
)
def test_metadata_that_is_refused(rows: list[list[str]], header: list[str], message: str) -> None:
    with pytest.raises(InvalidTensorError, match=message):
        metadata_tsv(rows, header)


@pytest.mark.parametrize(
    ("data", "is_text"),
    [
        (b"\xff\xff\xff\xff", False),
        (b"\x00\x00\x00\x00", True),
        (b"\n\n\n\n", True),
        (b"\n\n\n\xff", False),
        (b"a\n\xff\xff", True),  # the first line is read as a number before the second is decoded
        (b"\xc3\xbc\xc3\xbc", True),
        (b"\xc3\xbc\xc3\n", False),
        (b"aaa\xc3", False),
        (bytes(1 << 20) + b"\xff" * 4, True),
        (bytes((1 << 20) - 1) + b"\xc3\xbc\x00\x00\x00", True),  # cut within a character
        (bytes((1 << 20) - 2) + b"\xff\x00\x00\x00\x00\x00", False),
    ],
)
def test_reads_as_text(data: bytes, is_text: bool) -> None:
    assert reads_as_text(data) is is_text


def test_text_is_the_same_float32() -> None:
    bits = np.random.default_rng(0).integers(0, 2**32, 30_000, dtype=np.uint32)
    matrix = bits.view(np.float32)
    matrix = matrix[np.isfinite(matrix)][:29_000].reshape(-1, 2)
    text = tensors_tsv(matrix.astype("<f4").tobytes(), matrix.shape)
    read = [[float(field) for field in line.split("\t")] for line in text.decode().splitlines()]
    assert np.array(read, np.float32).tobytes() == matrix.tobytes()


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (2, 3)},
        {"shape": (0, 4)},
        {"shape": (-2, -2)},
        {"sprite": b"png"},
        {"sprite_dims": (3, 3)},
    ],
)
def test_files_that_do_not_agree(options: dict[str, object]) -> None:
    with pytest.raises(InvalidTensorError, match="embedding 'e'"):
        EmbeddingFiles(**{"folder": "e", "tensors": bytes(16), "shape": (2, 2), **options})


@pytest.mark.parametrize(
    "text", [b"embeddings {\n tensor_name: ", b"\xff", b"unknown: 1", b"embeddings: 3"]
)
def test_config_that_is_none(text: bytes) -> None:
    with pytest.raises(ConfigError):
        parse_config(text)
