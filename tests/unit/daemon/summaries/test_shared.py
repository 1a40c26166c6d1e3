"""Every kind of summary, contributed by several ranks and shown as one point."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from boardd.events.event_pb2 import Summary
from boardd.partials import embeddings, images
from boardd.partials.codec import decode, encode
from boardd.partials.first import First
from boardd.partials.partial import Partial
from boardd.partials.scalars import Scalars
from boardd.reduce.image.grid import image_grid
from boardd.reduce.pr_curve import pr_curve
from boardd.summaries.kinds import KINDS
from boardd.summaries.reduction import EncodedSummary
from boardd.summaries.shared_histograms import SharedRecord, is_joined, reduce_together
from boardd.summaries.summarize import SummaryError, present, reduce_shared
from boardd_protos import boardd_pb2 as pb
from boardd_protos.limits import NUMPY_BIN_RULES
from PIL import Image
from support.summaries import STEP, WALL_TIME, Record, chunks, event_of, record, reduction

RANKS = 4
RANDOM = np.random.default_rng(8)


def normal(rank: int, size: int = 300) -> np.ndarray:
    return np.random.default_rng(rank).normal(size=size)


def pixels(rank: int) -> np.ndarray:
    return np.full((3, 5, 3), 40 * rank + 10, np.uint8)


def records(kind: str) -> list[Record]:
    """What each rank logs of a kind."""
    made = {
        "audio": lambda rank: record(normal(rank) / 10, audio=pb.Audio(sample_rate=8000)),
        "custom_scalars": lambda rank: record(
            custom_scalars=pb.CustomScalars(
                categories=[pb.ChartCategory(title=str(rank), charts=[pb.Chart(tags=["a"])])]
            )
        ),
        "embedding": lambda rank: record(
            normal(rank).reshape(100, 3), embedding=pb.Embedding(has_step=True)
        ),
        "graph": lambda rank: record(
            graph=pb.Graph(nodes=pb.GraphNodes(nodes=[pb.GraphNode(name=f"n{rank}", op="x")]))
        ),
        "histogram": lambda rank: record(normal(rank), histogram=pb.Histogram(count=30)),
        "histogram_raw": lambda rank: record(
            np.array([1.0, 2.0, 3.0]),
            np.array([rank, 0.25, 5]),
            histogram_raw=pb.HistogramRaw(min=-rank, max=3, num=6, sum=rank / 7, sum_squares=9),
        ),
        "hparams": lambda rank: record(
            hparams=pb.HParams(hparams={"rate": pb.HParamValue(number=rank)})
        ),
        "image": lambda rank: record(pixels(rank), image=pb.Image(dataformats="HWC")),
        "mesh": lambda rank: record(normal(rank).reshape(1, 100, 3), mesh=pb.Mesh()),
        "pr_curve": lambda rank: record(
            normal(rank) > 0, normal(rank) > 0.5, pr_curve=pb.PrCurve(num_thresholds=7)
        ),
        "pr_curve_raw": lambda rank: record(
            *pr_curve(normal(rank) > 0, normal(rank + 9) > 0, 7).rows(),
            pr_curve_raw=pb.PrCurveRaw(num_thresholds=7),
        ),
        "ready": lambda rank: record(
            np.frombuffer(Summary.Value(simple_value=rank).SerializeToString(), np.uint8),
            ready=pb.Ready(),
        ),
        "tensor": lambda rank: record(normal(rank), tensor=pb.TensorSummary()),
        "text": lambda rank: record(text=pb.Text(markdown=f"of {rank}")),
        "video": lambda rank: record(
            np.full((1, 2, 1, 4, 4), rank, np.uint8), video=pb.Video(frames_per_second=2)
        ),
    }[kind]
    return [made(rank) for rank in range(RANKS)]


def contribution(given: Record, rank: int) -> Partial:
    payload = given.payload.SerializeToString()
    arrays = chunks(*given.arrays)
    return reduce_shared("tag", STEP, WALL_TIME, payload, arrays, 1 << 30, rank=rank)


def merged(given: Sequence[Record]) -> Partial:
    return merge([contribution(one, rank) for rank, one in enumerate(given)])


def merge(parts: Sequence[Partial]) -> Partial:
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merge(part)
    return whole


def shown(partial: Partial) -> EncodedSummary:
    return present("tag", STEP, WALL_TIME, partial)


def values_of(partial: Partial) -> list[Summary.Value]:
    return list(event_of(shown(partial)).summary.value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_of_merges_and_a_journal_change_nothing(kind: str) -> None:
    parts = [contribution(one, rank) for rank, one in enumerate(records(kind))]
    expected = encode(merge(parts))
    for order in itertools.permutations(range(RANKS)):
        one, two, three, four = (decode(encode(parts[rank])) for rank in order)
        assert encode(merge([one, two, three, four])) == expected
        assert encode(one.merge(two).merge(three.merge(four))) == expected
    partial = decode(expected)
    assert partial.count == RANKS
    assert partial.size_bytes > 0
    assert shown(partial).event == shown(merge(parts)).event
    assert shown(partial).embedding == shown(merge(parts)).embedding


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"embedding", "histogram", "pr_curve_raw"}))
def test_a_rank_alone_shows_what_a_run_with_one_writer_does(kind: str) -> None:
    given = records(kind)[1]
    alone, whole = shown(contribution(given, 1)), reduction(given)
    assert alone.event == whole.event
    assert alone.kinds == whole.kinds


@pytest.mark.parametrize(
    "kind",
    ["audio", "custom_scalars", "graph", "hparams", "mesh", "ready", "tensor", "text", "video"],
)
def test_of_what_cannot_be_added_the_lowest_rank_is_shown(kind: str) -> None:
    given = records(kind)
    assert shown(merged(given)).event == reduction(given[0]).event


@pytest.mark.parametrize("count", [1, 30, 1000])
def test_a_histogram_counts_all_ranks_values_as_numpy_does(count: int) -> None:
    parts = [normal(rank) * 10.0**rank for rank in range(RANKS)]
    (value,) = values_of(
        merged([record(part, histogram=pb.Histogram(count=count)) for part in parts])
    )
    everything = np.concatenate(parts)
    limits = np.array(value.histo.bucket_limit)
    width = np.diff(limits).min() if limits.size > 1 else limits[0] - everything.min()
    edges = np.append(limits[0] - width, limits)
    counts = np.histogram(everything, bins=np.minimum(edges, everything.max() + 1))[0]
    assert list(value.histo.bucket) == counts.tolist()
    assert value.histo.num == everything.size
    assert (value.histo.min, value.histo.max) == (everything.min(), everything.max())


def test_what_is_not_finite_is_counted_over_all_ranks() -> None:
    parts = [np.array([1.0, np.nan]), np.array([np.inf]), np.array([np.nan, 2.0])]
    found = values_of(merged([record(part, histogram=pb.Histogram(count=3)) for part in parts]))
    scalars = {value.tag: value.simple_value for value in found[1:]}
    assert scalars == {"tag/nan": 2, "tag/positive_infinity": 1}
    assert sum(found[0].histo.bucket) == 2


def test_no_finite_value_shows_no_bucket() -> None:
    empty = record(np.array([np.nan]), histogram=pb.Histogram(count=3))
    value, nan = values_of(merged([empty, empty]))
    assert not value.histo.bucket
    assert nan.simple_value == 2


@pytest.mark.parametrize("rule", NUMPY_BIN_RULES)
def test_a_rule_finds_about_as_many_buckets_as_numpy(rule: str) -> None:
    parts = [normal(rank, 5000) for rank in range(RANKS)]
    (value,) = values_of(
        merged([record(part, histogram=pb.Histogram(rule=rule)) for part in parts])
    )
    everything = np.concatenate(parts)
    expected = np.histogram_bin_edges(everything, rule).size - 1
    assert expected / 2 <= len(value.histo.bucket) <= 2 * expected + 1
    assert sum(value.histo.bucket) == everything.size


def test_a_curve_is_that_of_all_predictions() -> None:
    labels = [RANDOM.integers(0, 2, 50) for _ in range(RANKS)]
    predictions = [RANDOM.random(50).astype(np.float32) for _ in range(RANKS)]
    given = [
        record(*pair, pr_curve=pb.PrCurve(num_thresholds=11))
        for pair in zip(labels, predictions, strict=True)
    ]
    both = np.concatenate(labels), np.concatenate(predictions)
    whole = reduction(record(*both, pr_curve=pb.PrCurve(num_thresholds=11)))
    assert shown(merged(given)).event == whole.event
    raw = [
        record(*pr_curve(*pair, 11).rows(), pr_curve_raw=pb.PrCurveRaw(num_thresholds=11))
        for pair in zip(labels, predictions, strict=True)
    ]
    assert shown(merged(raw)).event == whole.event


def image_of(value: Summary.Value) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(value.image.encoded_image_string)))


def test_images_are_tiles_in_the_order_of_ranks() -> None:
    (value,) = values_of(merge([contribution(records("image")[rank], rank) for rank in (2, 0, 3)]))
    tiles = np.stack([pixels(rank) for rank in (0, 2, 3)])
    np.testing.assert_array_equal(image_of(value), image_grid(tiles, dataformats="NHWC"))


def test_of_too_many_images_an_even_sample_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_IMAGE_BYTES", 2 * pixels(0).nbytes)
    value, note = values_of(merged(records("image")))
    tiles = np.stack([pixels(rank) for rank in (0, 2)])
    np.testing.assert_array_equal(image_of(value), image_grid(tiles, dataformats="NHWC"))
    assert note.tag == "tag/ranks"
    assert b"Ranks 0, 2 are shown, a sample" in note.tensor.string_val[0]


def test_contributions_of_another_form_are_left_out_and_told() -> None:
    given = [record(normal(rank), histogram=pb.Histogram(count=5 + rank % 2)) for rank in range(3)]
    value, note = values_of(merged(given))
    assert sum(value.histo.bucket) == 600
    assert b"2 of 3 contributions are shown" in note.tensor.string_val[0]


def matrix(rank: int, rows: int) -> np.ndarray:
    return np.full((rows, 3), rank + 1, np.float32)


def embedding(rank: int, rows: int, **options: int) -> Record:
    labels = np.arange(rows) + 10 * rank
    thumbnails = np.full((rows, 3, 4, 4), rank, np.uint8)
    return record(
        *(matrix(rank, rows), labels, thumbnails),
        embedding=pb.Embedding(labels_tensor=1, images_tensor=2, **options),
    )


def test_the_rows_of_an_embedding_name_their_rank() -> None:
    files = shown(merged([embedding(rank, rank + 1) for rank in range(3)])).embedding
    assert files is not None
    assert files.shape == (6, 3)
    assert files.metadata is not None
    lines = files.metadata.decode().splitlines()
    assert lines == ["label\trank", "0\t0", "10\t1", "11\t1", "20\t2", "21\t2", "22\t2"]
    found = np.frombuffer(files.tensors, "<f4").reshape(files.shape)
    np.testing.assert_array_equal(found[:, 0], [1, 2, 2, 3, 3, 3])
    assert files.sprite is not None


def test_an_embedding_without_labels_is_labelled_by_rank() -> None:
    given = [record(matrix(rank, 2), embedding=pb.Embedding()) for rank in range(2)]
    files = shown(merged(given)).embedding
    assert files is not None
    assert files.metadata == b"0\n0\n1\n1\n"


def test_of_too_many_rows_a_sample_of_ranks_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings, "MAX_EMBEDDING_BYTES", 2 * matrix(0, 2).nbytes)
    given = [record(matrix(rank, 2), embedding=pb.Embedding()) for rank in range(4)]
    made = shown(merged(given))
    assert made.embedding is not None
    assert made.embedding.metadata == b"0\n0\n2\n2\n"
    (note,) = event_of(made).summary.value
    assert b"Ranks 0, 2 are shown, a sample" in note.tensor.string_val[0]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (
            record(np.array(["a"]).view(np.uint32), histogram=pb.Histogram(count=0)),
            "INVALID_RECORD",
        ),
        (record(np.zeros((2, 2, 2), np.uint8), image=pb.Image(dataformats="HW")), "INVALID_TENSOR"),
        (record(np.zeros(3), embedding=pb.Embedding()), "INVALID_TENSOR"),
        (
            record(
                np.zeros((2, 2)),
                np.zeros((2, 2)),
                embedding=pb.Embedding(labels_tensor=1, metadata_header=["a", "a"]),
            ),
            "INVALID_TENSOR",
        ),
        (
            record(
                np.zeros(2),
                np.array([-1.0, 1]),
                histogram_raw=pb.HistogramRaw(min=0, max=1, num=1, sum=1, sum_squares=1),
            ),
            "INVALID_RECORD",
        ),
    ],
)
def test_a_bad_record_is_refused_before_it_is_merged(given: Record, reason: str) -> None:
    with pytest.raises(SummaryError, match="tag 'tag': ") as caught:
        contribution(given, 0)
    assert pb.Reason.Name(caught.value.reason) == reason


@pytest.mark.parametrize(
    "value",
    [Scalars.of(0, 1e9, 0.5), First(0, b"\x2a\x04\x0a\x02\x0a\x00"), First(0, b"\xff")],
    ids=["scalars", "no value", "no event"],
)
def test_what_another_daemon_contributed_and_nobody_can_show_is_refused(value: Any) -> None:
    with pytest.raises(SummaryError) as caught:
        present("tag", STEP, WALL_TIME, Partial.of(0, value))
    assert caught.value.reason == pb.INVALID_RECORD


def counted(limits: Sequence[float], counts: Sequence[float], **others: float) -> Record:
    message = pb.HistogramRaw(
        **{"min": 0, "max": 9, "num": 1, "sum": 1, "sum_squares": 1, **others}
    )
    return record(np.array(limits, float), np.array(counts, float), histogram_raw=message)


def counted_curve(thresholds: int, count: float = 1.0) -> Record:
    rows = [np.full(thresholds, count)] * 6
    return record(*rows, pr_curve_raw=pb.PrCurveRaw(num_thresholds=thresholds))


@pytest.mark.parametrize(
    "given",
    [
        counted([], []),
        counted([1], [0], min=math.nan, max=math.inf),
        counted([1, 1, 1], [1, 2, 3]),
        counted([-math.inf, 1, math.inf, math.inf], [1, 0, 1e300, 0.1]),
        counted([1], [1 << 53], num=math.nan, sum=math.inf, sum_squares=-math.inf),
        counted(range(70_000), range(70_000)),
        counted_curve(1),
        counted_curve(2, -0.5),
        counted_curve(2, 1e300),
        counted_curve(70_000),
        record(np.zeros(0), histogram=pb.Histogram(count=1)),
        record(np.array([math.nan, math.inf, -math.inf]), histogram=pb.Histogram(count=65_536)),
        record(np.array([5e-324, 1.7e308, -1.7e308]), histogram=pb.Histogram(count=65_536)),
        record(np.array([-0.0, 0.0]), histogram=pb.Histogram(rule="fd")),
        record(
            np.array([1.0, 1.0, 2.0]),
            histogram=pb.Histogram(edges=pb.Edges(edges=[-1e308, 1, 1 + 1e-15, 1e308])),
        ),
        record(np.zeros(0, bool), np.zeros(0), pr_curve=pb.PrCurve(num_thresholds=2)),
        record(
            np.array([True, False]),
            np.array([0.0, 1.0]),
            np.array([1e300, 0.1]),
            pr_curve=pb.PrCurve(num_thresholds=65_536),
        ),
        record(np.zeros((1, 1), np.uint8), image=pb.Image(dataformats="HW")),
        record(np.zeros((1, 1)), embedding=pb.Embedding()),
        record(text=pb.Text()),
        record(hparams=pb.HParams()),
        record(custom_scalars=pb.CustomScalars()),
    ],
    ids=itertools.count(),
)
def test_what_one_rank_may_log_alone_is_shared_and_read_back(given: Record) -> None:
    event_of(reduction(given))
    partial = contribution(given, 3)
    whole = partial.merge(contribution(given, 4))
    for one in (partial, whole):
        assert encode(decode(encode(one))) == encode(one)
    shown(whole)


def test_histograms_that_are_reduced_together_are_those_that_are_reduced_alone() -> None:
    options = [pb.Histogram(count=30), pb.Histogram(count=7), pb.Histogram(rule="auto")]
    tensors = [normal(0), normal(1).astype(np.float32), np.full(4, np.inf), normal(2)[:1]]
    records = []
    for rank, (bins, values) in enumerate(itertools.product(options, tensors)):
        message = record(values, histogram=bins).payload
        assert is_joined(message)
        payload, held = message.SerializeToString(), chunks(values)
        records.append(
            SharedRecord(f"tag{rank}", STEP, WALL_TIME, payload, message, held, None, rank)
        )
    broken = SharedRecord("b", STEP, WALL_TIME, records[0].payload, records[0].message, {}, None, 1)
    *together, refused = reduce_together([*records, broken], 1 << 30)
    assert isinstance(refused, SummaryError)
    assert refused.reason == pb.INVALID_TENSOR
    for rank, (one, partial) in enumerate(zip(records, together, strict=True)):
        assert isinstance(partial, Partial)
        alone = reduce_shared(one.tag, STEP, WALL_TIME, one.payload, one.chunks, 1 << 30, rank=rank)
        assert encode(partial) == encode(alone)


@pytest.mark.parametrize(
    ("dtype", "size", "summary"),
    [
        ("int8", 3, {"histogram": pb.Histogram(count=3)}),
        ("float32", 0, {"histogram": pb.Histogram(count=3)}),
        ("float32", 1 << 20, {"histogram": pb.Histogram(count=3)}),
        ("float32", 3, {"histogram": pb.Histogram(count=1 << 30)}),
        ("float32", 3, {"histogram": pb.Histogram()}),
        ("float32", 3, {"histogram": pb.Histogram(rule="default")}),
        ("float32", 3, {"histogram": pb.Histogram(rule="unknown")}),
        ("float32", 3, {"text": pb.Text()}),
    ],
)
def test_other_records_are_not_reduced_together(
    dtype: str, size: int, summary: dict[str, Any]
) -> None:
    assert not is_joined(pb.Payload(tensors=[pb.Tensor(dtype=dtype, shape=[size])], **summary))
    assert not is_joined(pb.Payload(**summary))
