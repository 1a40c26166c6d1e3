"""The events that make TensorBoard forget what a run holds from a step on.

What the two loaders make of them is seen in e2e/test_resume.py.
"""

from __future__ import annotations

import pytest
from boardd.events.purge import TAGS_PER_EVENT, purge
from support.tfrecords import read_records
from tensorboard.compat.proto.event_pb2 import Event, SessionLog


def events(records: list[bytes]) -> list[Event]:
    return [Event.FromString(data) for record in records for data in read_records(record)]


def test_two_starts_and_a_value_without_content_for_each_tag() -> None:
    tags = ["loss", "größe", "x" * 1000]
    first, second, last = events(purge(12.5, 7, [tag.encode() for tag in tags]))
    assert first == second
    assert (first.step, first.wall_time) == (7, 12.5)
    assert first.session_log.status == SessionLog.START
    assert (last.step, last.wall_time) == (7, 12.5)
    assert [value.tag for value in last.summary.value] == tags
    for value in last.summary.value:
        assert value.WhichOneof("value") == "obsolete_old_style_histogram"
        assert not value.HasField("metadata")


def test_many_tags_are_spread_over_events() -> None:
    tags = [f"tag/{number}".encode() for number in range(2 * TAGS_PER_EVENT + 1)]
    _, _, *rest = events(purge(1.0, 0, tags))
    assert [len(event.summary.value) for event in rest] == [TAGS_PER_EVENT, TAGS_PER_EVENT, 1]
    assert [value.tag.encode() for event in rest for value in event.summary.value] == tags


def test_a_run_without_tags_has_the_starts_alone() -> None:
    assert len(events(purge(1.0, -3, []))) == 2


@pytest.mark.parametrize(("wall_time", "step"), [(float("nan"), 0), (0.0, 1 << 63)])
def test_what_no_event_can_hold_is_refused(wall_time: float, step: int) -> None:
    with pytest.raises(ValueError, match=r"wall_time|out of range"):
        purge(wall_time, step, [])
