"""What a record tells of its tensors' health, and what cannot be told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from boardd.summaries.health import MAX_NAMES, health_part
from boardd_protos import boardd_pb2 as pb
from boardd_protos.invalid import InvalidRecordError
from support.summaries import check_rejected, record, reduction, values_of


def health(*names: str, **more: Any) -> pb.Health:
    return pb.Health(**{"tag": "health", "names": names, "part": 0, "parts": 1, **more})


def test_a_histogram_tells_of_its_tensor_besides() -> None:
    given = record(
        np.array([3.0, 0.0, 4.0, np.nan]),
        histogram=pb.Histogram(count=4),
        health=health("gradients/w", part=1, parts=3),
    )
    made = reduction(given)
    assert made.health is not None
    assert (made.health.tag, made.health.part, made.health.parts) == ("health", 1, 3)
    ((group, name, found),) = made.health.arrays
    assert (group, name) == ("gradients", "w")
    assert (found.norm, found.zeros, found.nans) == (5.0, 1, 1)
    values = values_of(given)  # the second tells of the NaN
    assert values[0].HasField("histo")
    assert list(made.values)[1:] == values[1:]


def test_arrays_may_lie_in_a_row_over_tensors() -> None:
    tensors = [np.array([[3.0, 4.0], [1.0, 0.0]]), np.zeros(0), np.array([2.0], np.float32)]
    told = health_part(health("g/a", "g/b", "p/c", sizes=[2, 2, 1]), tensors)
    assert [(group, name, one.norm) for group, name, one in told.arrays] == [
        ("g", "a", 5.0),
        ("g", "b", 1.0),
        ("p", "c", 2.0),
    ]


@pytest.mark.parametrize(
    "message",
    [
        health("g/a", "g/b"),
        health("g/a", sizes=[3]),
        health("no_group"),
        health("g" * 1020 + "/a"),
        health("g/a", part=1),
        health("g/a", parts=0),
        health(*["g/a"] * (MAX_NAMES + 1), sizes=[0] * (MAX_NAMES + 1)),
    ],
    ids=range(7),
)
def test_what_does_not_fit_the_tensors_is_refused(message: pb.Health) -> None:
    with pytest.raises(InvalidRecordError):
        health_part(message, [np.zeros(4)])
    given = record(np.zeros(4), histogram=pb.Histogram(count=4), health=message)
    check_rejected(given, pb.INVALID_RECORD, "health|name")
