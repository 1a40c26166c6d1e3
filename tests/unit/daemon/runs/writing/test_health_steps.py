"""When a step's health is whole, and where the first NaN was."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
from boardd.core.runs.contents import RunContents
from boardd.events.event_pb2 import Summary
from boardd.reduce.health import array_health
from boardd.runs.writing.health_steps import HealthSteps
from boardd.summaries.health import HealthPart
from boardd_protos.summary_kind import SummaryKind
from boardd_protos.tags import MAX_TAG_BYTES

SESSION = b"one"


def part(number: int, *values: float, group: str = "gradients", parts: int = 2) -> HealthPart:
    arrays = [(group, f"w{number}", array_health(np.array(values)))]
    return HealthPart("health", number, parts, arrays)


def health_steps() -> HealthSteps:
    return HealthSteps("run", RunContents())


def texts(values: list[Summary.Value]) -> list[str]:
    """The texts of the first NaN, without what is before the step."""
    told = [value.tensor.string_val[0].decode() for value in values if value.HasField("tensor")]
    return [text.partition(" at ")[2] for text in told]


def scalars(values: list[Summary.Value]) -> dict[str, float]:
    return {value.tag: value.simple_value for value in values if not value.HasField("tensor")}


def test_a_group_is_shown_with_the_last_record_of_a_step() -> None:
    steps = health_steps()
    first = scalars(steps.take(part(0, 3.0, 0.0), SESSION, 7))
    assert first == {
        "health/gradients/log10_norm/w0": pytest.approx(math.log10(3)),
        "health/gradients/zeros/w0": 0.5,
    }
    last = scalars(steps.take(part(1, 4.0, 1.0), SESSION, 7))
    assert last["health/gradients/norm"] == pytest.approx(math.sqrt(26))
    assert last["health/gradients/zeros"] == 0.25
    assert (last["health/gradients/nan"], last["health/gradients/infinite"]) == (0, 0)


def test_a_step_without_one_of_its_records_shows_no_group() -> None:
    steps = health_steps()
    steps.take(part(0, 1.0), SESSION, 1)
    assert "health/gradients/norm" not in scalars(steps.take(part(1, 1.0), SESSION, 2))
    steps.take(part(0, 1.0), SESSION, 3)
    assert "health/gradients/norm" in scalars(steps.take(part(1, 1.0), SESSION, 3))


def test_an_array_whose_name_is_too_long_for_a_tag_counts_for_its_group() -> None:
    for length, is_shown in ((0, True), (1, False)):
        name = "a" * (MAX_TAG_BYTES - len("health/g/log10_norm/") + length)
        told = HealthPart("health", 0, 1, [("g", name, array_health(np.ones(4)))])
        values = scalars(health_steps().take(told, SESSION, 0))
        assert values["health/g/norm"] == 2.0
        assert (f"health/g/log10_norm/{name}" in values) is is_shown
        assert (f"health/g/zeros/{name}" in values) is is_shown


def test_gradients_are_named_before_parameters_and_ten_arrays_at_most() -> None:
    steps = health_steps()
    values = []
    for number in range(12):
        group = "gradients" if number == 11 else "parameters"
        told = part(number, math.inf, group=group, parts=12)
        values = steps.take(told, SESSION, 0)
    lines = values[-1].tensor.string_val[0].decode().splitlines()[2:]
    assert lines[0].startswith("- `gradients/w11`")
    assert lines[1].startswith("- `parameters/w0`")
    assert lines[10:] == ["- and 2 arrays more"]


def test_the_first_nan_is_told_once_with_its_step_and_place(
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps = health_steps()
    found, warnings = [], []
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            values = steps.take(part(0, 1.0), SESSION, step)
            bad = math.nan if step else 1.0
            values += steps.take(part(1, bad, math.inf if step else 2.0), SESSION, step)
            found += [value for value in values if value.HasField("tensor")]
            warnings.append(steps.take_warning())
    (text,) = found
    assert text.tag == "health/first_nan"
    told = text.tensor.string_val[0].decode()
    assert "step 1" in told
    assert "`gradients/w1`: 1 NaN and 1 infinite of 2 elements" in told
    assert caplog.messages == [warning for warning in warnings if warning]
    assert warnings[1].startswith("run run: the first NaN or infinity is at step 1 in gradients/w1")


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_the_first_nan_is_told_though_a_record_of_its_step_is_lost(lost: int) -> None:
    steps = health_steps()
    found = []
    for number in (one for one in range(3) if one != lost):
        found += steps.take(part(number, math.nan, parts=3), SESSION, 4)
    assert bool(texts(found)) is (lost != 2)  # with the last record of the step
    found += steps.take(part(0, math.nan, parts=3), SESSION, 5)
    (text,) = texts(found)
    told = [line.partition(":")[0] for line in text.splitlines()[2:]]
    assert text.startswith("step 4:")
    assert told == [f"- `gradients/w{number}`" for number in range(3) if number != lost]
    assert "at step 4 in" in steps.take_warning()


def test_a_session_that_ends_within_a_step_tells_what_is_known_of_it() -> None:
    steps = health_steps()
    steps.take(part(0, math.nan), SESSION, 4)
    assert steps.end(b"other") == {}
    ((step, values),) = steps.end(SESSION).items()
    assert step == 4
    assert texts(values)[0].startswith("step 4:")
    assert steps.end(SESSION) == {}


def test_a_step_that_gives_way_tells_what_is_known_of_it() -> None:
    steps = health_steps()
    found = steps.take(part(0, math.nan), SESSION, 4)
    for number in range(100):
        found += steps.take(part(0, 1.0), b"%d" % number, 4)
    assert len(texts(found)) == 1


@pytest.mark.parametrize(("rewound_to", "is_told_again"), [(3, True), (4, True), (5, False)])
def test_it_is_told_again_once_it_is_out_of_date(rewound_to: int, is_told_again: bool) -> None:
    contents = RunContents()
    steps = HealthSteps("run", contents)
    bad = part(0, math.nan, parts=1)
    assert texts(steps.take(bad, SESSION, 4))
    contents.kinds.take(b"w", {b"health/first_nan": SummaryKind.TEXT})
    assert not texts(steps.take(bad, SESSION, 5))
    contents.rewind(rewound_to)
    again = HealthSteps("run", contents)  # of a writer that comes later
    assert bool(texts(again.take(bad, b"two", 6))) is is_told_again
    assert not texts(again.take(bad, b"two", 7))


def test_what_an_earlier_daemon_told_stands_until_the_run_is_taken_back() -> None:
    contents = RunContents()
    contents.kinds.restore({b"health/first_nan": SummaryKind.TEXT})
    steps = HealthSteps("run", contents)
    bad = part(0, math.nan, parts=1)
    assert not texts(steps.take(bad, SESSION, 4))
    contents.rewind(3)
    assert texts(steps.take(bad, SESSION, 5))
    assert not texts(steps.take(bad, SESSION, 6))


def test_a_step_of_a_writer_that_was_replaced_is_not_told() -> None:
    steps = health_steps()
    steps.take(part(0, math.nan), SESSION, 4)
    steps.forget()
    assert steps.end(SESSION) == {}


def test_sessions_that_watch_into_one_run_are_kept_apart() -> None:
    steps = health_steps()
    steps.take(part(0, 3.0), b"one", 1)
    steps.take(part(0, 6.0), b"two", 1)
    assert scalars(steps.take(part(1, 4.0), b"one", 1))["health/gradients/norm"] == 5.0
    assert scalars(steps.take(part(1, 8.0), b"two", 1))["health/gradients/norm"] == 10.0


def test_a_part_that_comes_again_begins_its_step_anew() -> None:
    steps = health_steps()
    steps.take(part(0, 3.0), SESSION, 1)
    steps.take(part(0, 6.0), SESSION, 1)
    assert scalars(steps.take(part(1, 8.0), SESSION, 1))["health/gradients/norm"] == 10.0
