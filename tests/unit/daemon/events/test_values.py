from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from boardd.events import event
from boardd.events.event_pb2 import Event, Summary
from boardd.events.values import histogram_value, image_value, scalar_value
from boardd.events.wire import EncodedValue
from boardd.reduce.histogram.bins import Edges, EqualWidth
from boardd.reduce.histogram.histogram import histogram
from boardd_protos.summary_kind import SummaryKind
from support.tfrecords import read_records

SCALAR = Summary.Value(tag="loss", simple_value=0.625)


def test_event_bytes_are_tensorboards() -> None:
    # Written by tensorboard 2.21's EventFile.
    written = bytes.fromhex(
        "1a00000000000000129bd82d0900006040fc54d94110072a0d0a0b0a046c6f7373150000203f7834e7cb"
    )
    assert event.summary(1700000001.5, 7, SCALAR) == written


def test_event_may_hold_several_values() -> None:
    values = [SCALAR, Summary.Value(tag="accuracy", simple_value=0.5)]
    several = only(event.summary(1.0, 7, iter(values)))
    assert list(several.summary.value) == values


def only(encoded: bytes) -> Event:
    (data,) = read_records(encoded)
    return Event.FromString(data)


def test_file_version() -> None:
    opening = only(event.file_version(12.5))
    assert opening.wall_time == 12.5
    assert opening.file_version == "brain.Event:2"
    assert opening.source_metadata.writer == "boardd"


@pytest.mark.parametrize("wall_time", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "make",
    [
        event.file_version,
        lambda wall_time: event.summary(wall_time, 1, SCALAR),
    ],
    ids=["file_version", "summary"],
)
def test_wall_time_must_be_finite(make: Callable[[float], bytes], wall_time: float) -> None:
    with pytest.raises(ValueError, match=f"wall_time {wall_time}"):
        make(wall_time)


@pytest.mark.parametrize("step", [2**63, -(2**63) - 1])
def test_step_must_be_int64(step: int) -> None:
    with pytest.raises(ValueError, match=str(step)):
        event.summary(1.0, step, SCALAR)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (0.1, float(np.float32(0.1))),
        (0.0, 0.0),
        (3.5e38, math.inf),
        (-1e300, -math.inf),
        (math.inf, math.inf),
    ],
)
def test_scalar_is_rounded_to_float32(value: float, stored: float) -> None:
    made = scalar_value("t", value)
    assert made.WhichOneof("value") == "simple_value"
    assert made.simple_value == stored


def test_scalar_may_be_nan() -> None:
    assert math.isnan(scalar_value("t", math.nan).simple_value)


def message_of(value: EncodedValue) -> Summary.Value:
    return Summary.Value.FromString(value.data)


def test_histogram_holds_the_statistics_and_the_buckets() -> None:
    values = np.array([-1.0, 0.0, 0.5, 3.0, 3.0])
    histo = message_of(histogram_value("t", histogram(values, EqualWidth(4)))).histo
    assert (histo.min, histo.max, histo.num) == (-1.0, 3.0, 5.0)
    assert (histo.sum, histo.sum_squares) == (5.5, 19.25)
    assert list(histo.bucket_limit) == [0.0, 1.0, 2.0, 3.0]
    assert list(histo.bucket) == [1.0, 2.0, 0.0, 2.0]


@pytest.mark.parametrize("tag", ["", "a", "\u00e9" * 100, "t" * 20_000])
@pytest.mark.parametrize(("wall_time", "step"), [(1.5, 7), (0.0, 0), (-1.0, -(2**63))])
def test_encoded_histogram_is_written_as_its_message(tag: str, wall_time: float, step: int) -> None:
    values = np.random.default_rng(1).standard_normal(1000)
    for bins in (1, 15, 16, 3000):
        made = histogram(values, EqualWidth(bins))
        encoded = histogram_value(tag, made)
        message = message_of(encoded)
        assert (encoded.tag, encoded.kind) == (tag.encode(), SummaryKind.HISTOGRAM)
        assert message.tag == tag
        assert list(message.histo.bucket) == made.counts.tolist()
        assert list(message.histo.bucket_limit) == made.edges[1:].tolist()
        several = [SCALAR, encoded, SCALAR]
        whole = Event(
            wall_time=wall_time, step=step, summary=Summary(value=[SCALAR, message, SCALAR])
        )
        (data,) = read_records(event.summary(wall_time, step, several))
        assert data == whole.SerializeToString()


def test_histogram_edges_stand_in_for_extremes_outside_them() -> None:
    values = np.array([-100.0, 1.5, 2.5, 900.0])
    edges = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    histo = message_of(histogram_value("t", histogram(values, Edges(edges)))).histo
    assert (histo.min, histo.max, histo.num) == (1.0, 3.0, 4.0)


@pytest.mark.parametrize(
    "values", [[], [math.nan], [math.inf, -math.inf, math.nan]], ids=["empty", "nan", "infinite"]
)
def test_histogram_of_nothing_finite_has_no_bucket(values: list[float]) -> None:
    histo = message_of(histogram_value("t", histogram(np.array(values), EqualWidth(10)))).histo
    assert (histo.min, histo.max, histo.num) == (0.0, 0.0, 0.0)
    assert (list(histo.bucket_limit), list(histo.bucket)) == ([], [])


def test_histogram_leaves_empty_outer_buckets_out() -> None:
    edges = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    histo = message_of(histogram_value("t", histogram(np.array([1.5, 3.5]), Edges(edges)))).histo
    assert list(histo.bucket_limit) == [2.0, 3.0, 4.0]
    assert list(histo.bucket) == [1.0, 0.0, 1.0]


def test_image() -> None:
    image = image_value("t", b"png", height=2, width=3, channels=4).image
    assert (image.height, image.width, image.colorspace) == (2, 3, 4)
    assert image.encoded_image_string == b"png"


def test_messages_live_beside_tensorboards() -> None:
    from tensorboard.compat.proto import event_pb2

    assert event_pb2.Event.DESCRIPTOR.full_name != Event.DESCRIPTOR.full_name
    ours = Event.FromString(next(read_records(event.summary(2.0, 3, SCALAR))))
    theirs = event_pb2.Event.FromString(ours.SerializeToString())
    assert theirs.summary.value[0].simple_value == SCALAR.simple_value


def _fields(message: object, seen: dict[str, tuple[object, ...]]) -> dict[str, tuple[object, ...]]:
    descriptor = message
    for field in descriptor.fields:  # type: ignore[attr-defined]
        key = f"{descriptor.name}.{field.name}"  # type: ignore[attr-defined]
        if key not in seen:
            seen[key] = (field.number, field.type, field.containing_oneof is not None)
            if field.message_type is not None:
                _fields(field.message_type, seen)
            if field.enum_type is not None:
                numbers = {value.name: value.number for value in field.enum_type.values}
                seen[f"enum {field.enum_type.name}"] = tuple(sorted(numbers.items()))
    return seen


def test_every_field_and_enum_value_is_tensorboards() -> None:
    from tensorboard.compat.proto import event_pb2

    ours = _fields(Event.DESCRIPTOR, {})
    theirs = _fields(event_pb2.Event.DESCRIPTOR, {})
    assert len(ours) > 50
    for key, described in ours.items():
        if key.startswith("enum "):
            assert set(described) <= set(theirs[key]), key
        else:
            assert described == theirs[key], key
