"""When a step's health is whole, and where the first NaN was."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
from boardd.events.event_pb2 import Summary
from boardd.reduce.health import array_health
from boardd.runs.writing.health_steps import HealthSteps
from boardd.summaries.health import HealthPart
from boardd_protos.tags import MAX_TAG_BYTES


def part(number: int, *values: float, group: str = "gradients", parts: int = 2) -> HealthPart:
    arrays = [(group, f"w{number}", array_health(np.array(values)))]
    return HealthPart("health", number, parts, arrays)


def scalars(values: list[Summary.Value]) -> dict[str, float]:
    return {value.tag: value.simple_value for value in values if not value.HasField("tensor")}


def test_a_group_is_shown_with_the_last_record_of_a_step() -> None:
    steps = HealthSteps("run")
    first = scalars(steps.take(part(0, 3.0, 0.0), 7, lambda tag: False))
    assert first == {
        "health/gradients/log10_norm/w0": pytest.approx(math.log10(3)),
        "health/gradients/zeros/w0": 0.5,
    }
    last = scalars(steps.take(part(1, 4.0, 1.0), 7, lambda tag: False))
    assert last["health/gradients/norm"] == pytest.approx(math.sqrt(26))
    assert last["health/gradients/zeros"] == 0.25
    assert (last["health/gradients/nan"], last["health/gradients/infinite"]) == (0, 0)


def test_a_step_without_one_of_its_records_shows_no_group() -> None:
    steps = HealthSteps("run")
    steps.take(part(0, 1.0), 1, lambda tag: False)
    assert "health/gradients/norm" not in scalars(steps.take(part(1, 1.0), 2, lambda tag: False))
    steps.take(part(0, 1.0), 3, lambda tag: False)
    assert "health/gradients/norm" in scalars(steps.take(part(1, 1.0), 3, lambda tag: False))


def test_an_array_whose_name_is_too_long_for_a_tag_counts_for_its_group() -> None:
    for length, is_shown in ((0, True), (1, False)):
        name = "a" * (MAX_TAG_BYTES - len("health/g/log10_norm/") + length)
        told = HealthPart("health", 0, 1, [("g", name, array_health(np.ones(4)))])
        values = scalars(HealthSteps("run").take(told, 0, lambda tag: False))
        assert values["health/g/norm"] == 2.0
        assert (f"health/g/log10_norm/{name}" in values) is is_shown
        assert (f"health/g/zeros/{name}" in values) is is_shown


def test_gradients_are_named_before_parameters_and_ten_arrays_at_most() -> None:
    steps = HealthSteps("run")
    values = []
    for number in range(12):
        group = "gradients" if number == 11 else "parameters"
        told = part(number, math.inf, group=group, parts=12)
        values = steps.take(told, 0, lambda tag: False)
    lines = values[-1].tensor.string_val[0].decode().splitlines()[2:]
    assert lines[0].startswith("- `gradients/w11`")
    assert lines[1].startswith("- `parameters/w0`")
    assert lines[10:] == ["- and 2 arrays more"]


def test_the_first_nan_is_told_once_with_its_step_and_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps, known = HealthSteps("run"), set[bytes]()
    texts, warnings = [], []
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            values = steps.take(part(0, 1.0), step, known.__contains__)
            bad = math.nan if step else 1.0
            values += steps.take(part(1, bad, math.inf if step else 2.0), step, known.__contains__)
            texts += [value for value in values if value.HasField("tensor")]
            warnings.append(steps.take_warning())
            known |= {value.tag.encode() for value in values}
    (text,) = texts
    assert text.tag == "health/first_nan"
    told = text.tensor.string_val[0].decode()
    assert "step 1" in told
    assert "`gradients/w1`: 1 NaN and 1 infinite of 2 elements" in told
    assert caplog.messages == [warning for warning in warnings if warning]
    assert warnings[1].startswith("run run: the first NaN or infinity is at step 1 in gradients/w1")
