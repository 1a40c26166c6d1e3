"""A rank's own copies keep what event files round; other runs' files are as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from boardd.core.intake.columns import Columns
from boardd.core.runs.run_state import Member, RunState
from boardd.core.session.batch import ScalarPart, SummaryPart
from boardd.events.event_pb2 import Event
from boardd.events.exact import partial_of, scalar_of
from boardd.partials.codec import decode
from boardd.partials.histograms import GridHistogram
from boardd.runs.writing.encode import encode_scalar_part, encode_summary
from boardd.runs.writing.health_steps import HealthSteps
from boardd.runs.writing.reductions import reduce_alone
from boardd_protos import boardd_pb2 as pb
from support.independent_reader import events
from support.tfrecords import read_records

SESSION = b"s" * 16
RANK = 3
NUMBER = 1
VALUES = [0.1, 0.5, float("nan"), 1e300]


def histogram_payload(values: np.ndarray) -> pb.Payload:
    tensor = pb.Tensor(dtype=values.dtype.name, shape=values.shape)
    return pb.Payload(tensors=[tensor], histogram=pb.Histogram(count=10))


def run_state() -> RunState:
    run = RunState("/l/rank_3", "/l", "", 10)
    run.members.join((SESSION, NUMBER), Member(RANK, 4, ""))
    run.tag_index("tag")
    return run


def scalars(values: list[float], *, is_copy: bool) -> bytes:
    count = len(values)
    columns = Columns(
        np.arange(1, count + 1, dtype=np.uint64),
        np.arange(count),
        np.full(count, 1e9),
        np.array(values),
    )
    part = ScalarPart(
        *(SESSION, run_state(), None, 1, count, 100),
        columns,
        np.zeros(count, np.intp),
        numbers=(NUMBER,),
        is_copy=is_copy,
    )
    return encode_scalar_part(part).events


def summary_part(payload: pb.Payload, arrays: list[np.ndarray], *, is_copy: bool) -> SummaryPart:
    return SummaryPart(
        *(SESSION, run_state(), None, 1, 1, 100),
        *(0, 5, 1e9, payload.SerializeToString()),
        {number: [array.tobytes()] for number, array in enumerate(arrays)},
        numbers=(NUMBER,),
        is_copy=is_copy,
    )


def summary(payload: pb.Payload, arrays: list[np.ndarray], *, is_copy: bool) -> bytes:
    return reduce_alone(summary_part(payload, arrays, is_copy=is_copy), 1 << 30).event


def test_a_copy_has_the_health_of_its_array_and_is_exact() -> None:
    values = np.array([3.0, 4.0, np.nan])
    payload = histogram_payload(values)
    payload.health.CopyFrom(pb.Health(tag="health", names=["g/w"], parts=1))
    plain = summary(histogram_payload(values), [values], is_copy=True)
    part = summary_part(payload, [values], is_copy=True)
    encoded = encode_summary(
        part, reduce_alone(part, 1 << 30), HealthSteps("rank_3", part.run.contents)
    )
    ((data,), (plain_data,)) = read_records(encoded.events), read_records(plain)
    shown = list(Event.FromString(data).summary.value)
    expected = list(Event.FromString(plain_data).summary.value)
    assert shown[: len(expected)] == expected
    told = {one.tag: one.simple_value for one in shown[len(expected) :]}
    assert told["health/g/norm"] == 5.0
    assert told["health/g/log10_norm/w"] == pytest.approx(np.log10(5.0))
    assert partial_of(data) == partial_of(plain_data) is not None
    assert "in g/w" in encoded.warning


@pytest.mark.parametrize("values", [VALUES, VALUES[:1], VALUES[1:2], VALUES[2:3]])
def test_copies_of_scalars_have_them_exact(values: list[float]) -> None:
    rounded = [value in (0.1, 1e300) for value in values]
    copies = [scalar_of(data) for data in read_records(scalars(values, is_copy=True))]
    assert [value is not None for value in copies] == rounded
    assert {value for value in copies if value is not None} <= {0.1, 1e300}


def test_other_scalars_are_as_they_were() -> None:
    for data in read_records(scalars(VALUES, is_copy=False)):
        assert scalar_of(data) is None


def test_a_copy_of_a_histogram_keeps_its_partial(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=100)
    payload = histogram_payload(values)
    copied = summary(payload, [values], is_copy=True)
    (data,) = read_records(copied)
    exact = partial_of(data)
    assert exact is not None
    assert exact.tag == b"tag"
    shown = decode(exact.partial).shown
    assert isinstance(shown.value, GridHistogram)
    assert (shown.rank, shown.value.moments.num) == (RANK, 100)
    (tmp_path / "file").write_bytes(copied)
    (found,) = events(tmp_path / "file")
    assert [value.tag for value in found.values] == ["tag"]


def test_other_summaries_are_as_they_were() -> None:
    values = np.random.default_rng(0).normal(size=100)
    (data,) = read_records(summary(histogram_payload(values), [values], is_copy=False))
    assert partial_of(data) is None
    text = pb.Payload(text=pb.Text(markdown="words"))
    for is_copy in (False, True):
        (data,) = read_records(summary(text, [], is_copy=is_copy))
        assert partial_of(data) is None
