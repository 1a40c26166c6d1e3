from __future__ import annotations

import io

import numpy as np
import pytest
from boardd.events.embedding import EmbeddingFiles
from boardd.reduce import pca
from boardd.reduce.image.sprite import sprite
from boardd.summaries import embedding
from boardd.summaries.embedding import MIN_WORKING_BYTES
from boardd_protos import boardd_pb2 as pb
from boardd_protos.summary_kind import SummaryKind
from PIL import Image
from sklearn.decomposition import PCA
from support.summaries import Record, check_rejected, event_of, record, reduction

RANDOM = np.random.default_rng(6)
MATRIX = RANDOM.normal(size=(6, 4)).astype(np.float32)
WIDE = (RANDOM.normal(size=(40, 30)) * 0.8 ** np.arange(30)).astype(np.float32)


def files_of(message: Record, **options: int) -> EmbeddingFiles:
    made = reduction(message, **options).embedding
    assert made is not None
    return made


def matrix_of(files: EmbeddingFiles) -> np.ndarray:
    return np.frombuffer(files.tensors, "<f4").reshape(files.shape)


def note_of(message: Record, **options: int) -> str:
    """The text that goes with an embedding, empty where there is none."""
    made = reduction(message, **options)
    values = event_of(made).summary.value
    if not values:
        assert not made.kinds
        return ""
    (value,) = values
    assert (value.tag, made.kinds) == ("tag/projection", {b"tag/projection": SummaryKind.TEXT})
    text: bytes = value.tensor.string_val[0]
    return text.decode()


def text_tensor(*lines: str) -> np.ndarray:
    return np.frombuffer("".join(line + "\n" for line in lines).encode(), np.uint8)


@pytest.mark.parametrize(("has_step", "folder"), [(False, "tag"), (True, "tag_000007")])
@pytest.mark.parametrize("project_to", [0, 4, 200])
def test_a_narrow_matrix_stays_as_it_is(has_step: bool, folder: str, project_to: int) -> None:
    options = pb.Embedding(has_step=has_step, project_to=project_to)
    message = record(MATRIX, embedding=options)
    files = files_of(message)
    assert (files.folder, files.metadata, files.sprite) == (folder, None, None)
    np.testing.assert_array_equal(matrix_of(files), MATRIX)
    assert note_of(message) == ""


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float16", "float64"])
def test_every_dtype_becomes_float32(dtype: str) -> None:
    matrix = np.array([[0, 1, 2], [3, 4, 100]]).astype(dtype)
    files = files_of(record(matrix, embedding=pb.Embedding()))
    np.testing.assert_array_equal(matrix_of(files), matrix.astype(np.float32))


def test_a_wide_matrix_is_projected_and_says_how_much_is_kept() -> None:
    message = record(WIDE, embedding=pb.Embedding(project_to=12))
    reference = PCA(12, svd_solver="full").fit(WIDE.astype(np.float64))
    np.testing.assert_allclose(
        matrix_of(files_of(message)), reference.transform(WIDE.astype(np.float64)), atol=1e-5
    )
    note = note_of(message)
    assert "40 rows of 30 dimensions" in note
    kept = reference.explained_variance_ratio_
    assert f"12 dimensions by principal component analysis, which keep {kept.sum():.2%}" in note
    assert f"| 2 | {kept[1]:.2%} | {kept[:2].sum():.2%} |" in note
    assert f"| 12 | {kept[11]:.2%} | {kept.sum():.2%} |" in note
    assert "| 11 |" not in note
    assert "approximated" not in note


@pytest.mark.parametrize(
    ("labels", "header", "metadata"),
    [
        (np.array([5, 0, -3]), [], "5\n0\n-3\n"),
        (np.array([0.1, 1.0, np.nan], np.float32), [], "0.1\n1.0\nnan\n"),
        (np.array([True, False, True]), [], "True\nFalse\nTrue\n"),
        (np.array([[1, 2], [3, 4], [5, 6]]), ["a", "b"], "a\tb\n1\t2\n3\t4\n5\t6\n"),
    ],
)
def test_labels_that_are_numbers(labels: np.ndarray, header: list[str], metadata: str) -> None:
    options = pb.Embedding(labels_tensor=1, metadata_header=header)
    message = record(MATRIX[:3], labels, embedding=options)
    assert files_of(message).metadata == metadata.encode()


@pytest.mark.parametrize(
    ("lines", "header", "metadata"),
    [
        (["x", "größe", ""], [], "x\ngröße\n(empty)\n"),
        (["1\tx", "2\t", "\ty"], ["n", "word"], "n\tword\n1\tx\n2\t\n\ty\n"),
        (["a\rb", "c\u2028d", "e"], [], "a b\nc d\ne\n"),
    ],
)
def test_labels_that_are_text(lines: list[str], header: list[str], metadata: str) -> None:
    options = pb.Embedding(metadata_tensor=1, metadata_header=header)
    message = record(MATRIX[:3], text_tensor(*lines), embedding=options)
    assert files_of(message).metadata == metadata.encode()


def test_images_become_a_sheet_of_thumbnails() -> None:
    images = RANDOM.random((6, 3, 5, 7)).astype(np.float32)
    files = files_of(record(MATRIX, images, embedding=pb.Embedding(images_tensor=1)))
    assert files.sprite_dims == (7, 5)
    assert files.sprite is not None
    pixels = np.asarray(Image.open(io.BytesIO(files.sprite)))
    np.testing.assert_array_equal(pixels, sprite(images).pixels)


def test_thumbnails_that_were_scaled_down_are_told() -> None:
    images = np.zeros((2, 1, 10, 5000), np.uint8)
    message = record(MATRIX[:2], images, embedding=pb.Embedding(images_tensor=1))
    assert files_of(message).sprite_dims == (4096, 8)
    assert "scaled down to 4096 x 8" in note_of(message)


def with_everything(matrix: np.ndarray, **options: int) -> Record:
    """An embedding whose rows, labels and grey images all hold the row's number."""
    rows = len(matrix)
    images = np.arange(rows, dtype=np.uint8).reshape(rows, 1, 1, 1)
    return record(
        matrix,
        images,
        text_tensor(*map(str, range(rows))),
        embedding=pb.Embedding(images_tensor=1, metadata_tensor=2, **options),
    )


def rows_shown(files: EmbeddingFiles) -> list[int]:
    """The rows by their labels; their images and first columns must be the same rows'."""
    assert files.metadata is not None
    assert files.sprite is not None
    labels = [int(line) for line in files.metadata.split()]
    pixels = np.asarray(Image.open(io.BytesIO(files.sprite))).reshape(-1)
    assert pixels[: len(labels)].tolist() == labels
    assert not pixels[len(labels) :].any()
    return labels


def test_rows_that_are_not_finite_are_left_out_everywhere() -> None:
    matrix = np.stack([np.arange(20), np.ones(20)], axis=1)
    matrix[3, 1], matrix[11, 0], matrix[19] = np.nan, np.inf, -np.inf
    message = with_everything(matrix)
    files = files_of(message)
    kept = [row for row in range(20) if row not in (3, 11, 19)]
    assert rows_shown(files) == kept
    assert matrix_of(files)[:, 0].tolist() == kept
    assert "3 rows that hold NaN or infinity are left out; the first is row 3." in note_of(message)


def test_rows_past_float32_are_left_out_of_what_is_not_projected() -> None:
    files = files_of(record(np.array([[1.0], [1e300]]), embedding=pb.Embedding()))
    assert matrix_of(files).tolist() == [[1.0]]


@pytest.mark.parametrize("project_to", [0, 1])
def test_a_sample_of_rows_keeps_labels_and_images_aligned(
    monkeypatch: pytest.MonkeyPatch, project_to: int
) -> None:
    sample_rows = pca.sample_rows
    # As if the projector loaded no more than 12.
    monkeypatch.setattr(pca, "sample_rows", lambda rows: sample_rows(rows, 12))
    matrix = np.stack([np.arange(30.0), np.zeros(30)], axis=1)
    matrix[4] = np.nan
    message = with_everything(matrix, project_to=project_to)
    files = files_of(message)
    kept = rows_shown(files)
    assert len(kept) == 12
    assert 4 not in kept
    shown = matrix_of(files)[:, 0]
    # Projected, a row lies where it is to the others, but for the origin.
    np.testing.assert_allclose(shown - shown[0], np.array(kept) - kept[0], atol=1e-5)
    assert "12 of 29 rows are shown, a uniform sample" in note_of(message)


def test_rows_beyond_what_the_projector_loads_are_sampled() -> None:
    matrix = np.arange(100_500, dtype=np.int32).reshape(-1, 1)
    message = record(matrix, matrix[:, 0], embedding=pb.Embedding(labels_tensor=1))
    files = files_of(message)
    assert files.shape == (100_000, 1)
    assert files.metadata is not None
    shown = matrix_of(files)[:, 0].astype(int).tolist()
    assert [int(line) for line in files.metadata.split()] == shown
    assert shown[-1] > 100_000
    assert "100,000 of 100,500 rows" in note_of(message)


def test_a_projection_that_does_not_fit_exactly_is_approximated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    matrix = RANDOM.normal(size=(600, 600)).astype(np.float32)
    exact = pca.working_bytes(600, 600, 5)
    rough = pca.working_bytes(600, 600, 5, exact_side=0)
    assert rough < exact
    message = record(matrix, embedding=pb.Embedding(project_to=5))
    monkeypatch.setattr(embedding, "MIN_WORKING_BYTES", 0)
    assert "approximated" not in note_of(message, max_working_bytes=exact)
    assert "approximated" in note_of(message, max_working_bytes=exact - 1)
    assert "approximated" in note_of(message, max_working_bytes=rough)
    check_rejected(message, pb.INVALID_TENSOR, "MiB of memory", max_working_bytes=rough - 1)


def test_small_projections_fit_whatever_the_budget_of_tensors() -> None:
    assert pca.working_bytes(10_000, 1000) < MIN_WORKING_BYTES
    files = files_of(
        record(WIDE, embedding=pb.Embedding(project_to=3)), max_working_bytes=WIDE.nbytes
    )
    assert files.shape == (40, 3)


def test_what_it_holds_is_told() -> None:
    made = reduction(with_everything(MATRIX))
    files = made.embedding
    assert files is not None
    assert files.metadata is not None
    assert files.sprite is not None
    expected = len(made.event) + MATRIX.nbytes + len(files.metadata) + len(files.sprite)
    assert made.size_bytes == expected


NUMBERS = np.arange(6)
LINES = text_tensor(*"abcdef")


@pytest.mark.parametrize(
    ("arrays", "options", "reason", "match"),
    [
        ([MATRIX[0]], {}, pb.INVALID_TENSOR, r"\[rows, columns\]"),
        ([MATRIX[:0]], {}, pb.INVALID_TENSOR, r"\[rows, columns\]"),
        ([MATRIX[:, :0]], {}, pb.INVALID_TENSOR, r"\[rows, columns\]"),
        ([MATRIX * np.nan], {}, pb.INVALID_TENSOR, "each of the 6 rows holds NaN"),
        ([MATRIX, NUMBERS], {}, pb.INVALID_RECORD, "named once"),
        ([MATRIX], {"labels_tensor": 1}, pb.INVALID_RECORD, "named once"),
        ([MATRIX, NUMBERS], {"labels_tensor": -1}, pb.INVALID_RECORD, "named once"),
        (
            [MATRIX, NUMBERS, LINES],
            {"labels_tensor": 1, "metadata_tensor": 2},
            pb.INVALID_RECORD,
            "give one of them",
        ),
        ([MATRIX, NUMBERS[:5]], {"labels_tensor": 1}, pb.INVALID_TENSOR, "labels of 5 rows"),
        (
            [MATRIX, NUMBERS.reshape(6, 1, 1)],
            {"labels_tensor": 1},
            pb.INVALID_TENSOR,
            r"\[rows, columns\]",
        ),
        (
            [MATRIX, np.zeros((6, 2))],
            {"labels_tensor": 1},
            pb.INVALID_TENSOR,
            "a name of its own",
        ),
        ([MATRIX, LINES[:-2]], {"metadata_tensor": 1}, pb.INVALID_TENSOR, "labels of 5 rows"),
        (
            [MATRIX, np.append(LINES, np.uint8(65))],
            {"metadata_tensor": 1},
            pb.INVALID_TENSOR,
            "last line",
        ),
        (
            [MATRIX, np.where(LINES == 97, np.uint8(255), LINES)],
            {"metadata_tensor": 1},
            pb.INVALID_TENSOR,
            "UTF-8",
        ),
        ([MATRIX, NUMBERS], {"metadata_tensor": 1}, pb.INVALID_TENSOR, "uint8"),
        (
            [MATRIX, text_tensor("a\tb", *"cdefg")],
            {"metadata_tensor": 1, "metadata_header": ["x", "y"]},
            pb.INVALID_TENSOR,
            "row 1 of the metadata has 1 columns",
        ),
        (
            [MATRIX, np.zeros((5, 1, 2, 2), np.uint8)],
            {"images_tensor": 1},
            pb.INVALID_TENSOR,
            "images of 5 rows",
        ),
        (
            [MATRIX, np.zeros((6, 2, 2), np.uint8)],
            {"images_tensor": 1},
            pb.INVALID_TENSOR,
            "height, width",
        ),
        ([MATRIX, np.zeros((6, 1, 2, 2))[:, :0]], {"images_tensor": 1}, pb.INVALID_TENSOR, "no pi"),
        (
            [np.zeros((2, 1), np.int8), np.zeros((2, 3_000_000), np.bool_)],
            {"labels_tensor": 1},
            pb.INVALID_TENSOR,
            "6000000 labels; at most",
        ),
    ],
)
def test_what_is_no_embedding(
    arrays: list[np.ndarray], options: dict[str, object], reason: int, match: str
) -> None:
    message = record(*arrays, embedding=pb.Embedding(**options))  # type: ignore[arg-type]
    check_rejected(message, reason, match)
