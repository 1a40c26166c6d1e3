from __future__ import annotations

import numpy as np
import pytest
from boardd.events import event, kinds
from boardd.events.event_pb2 import Summary
from boardd.events.kinds import kinds_of, notable_events
from boardd.events.tensors import bytes_proto, plugin_value, tensor_value
from boardd.events.tfrecord import record
from boardd.events.values import image_value, scalar_value
from boardd_protos.summary_kind import SummaryKind
from support.tfrecords import read_records

NOW = 1e9


def data_of(step: int, *values: Summary.Value) -> bytes:
    (data,) = read_records(event.summary(NOW, step, values))
    return data


def test_each_tag_has_its_first_kind() -> None:
    events = [
        *read_records(event.file_version(NOW)),
        data_of(0, scalar_value("loss", 1.0)),
        data_of(300, scalar_value("loss", 2.0), scalar_value("other", 2.0)),
        data_of(-1, scalar_value("lost", 2.0)),
        data_of(5, image_value("loss", b"png", 1, 1, 1)),
        data_of(5, image_value("picture", b"png", 1, 1, 1)),
        data_of(5, plugin_value("words", bytes_proto(b"hi"), "text")),
        data_of(5, plugin_value("new style", bytes_proto(b"hi"), "scalars")),
        data_of(5, plugin_value("unknown", bytes_proto(b"hi"), "somebody's")),
        data_of(5, tensor_value("plain", np.zeros(3))),
        b"\xff noise",
    ]
    expected = {
        b"loss": SummaryKind.SCALAR,
        b"other": SummaryKind.SCALAR,
        b"lost": SummaryKind.SCALAR,
        b"picture": SummaryKind.IMAGE,
        b"words": SummaryKind.TEXT,
        b"new style": SummaryKind.SCALAR,
        b"plain": SummaryKind.TENSOR,
    }
    assert kinds_of(events) == expected
    data = b"".join(record(one) for one in events)
    for chunk_bytes in (1, 7, 100, 10_000):
        chunks = [data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)]
        assert kinds_of(notable_events(chunks)) == expected


def test_events_that_show_nothing_new_are_passed_over() -> None:
    steps = range(-3, 2000)
    events = [data_of(step, scalar_value(f"t{step % 10}", step)) for step in steps]
    events += [data_of(step, tensor_value("a", np.full(step % 4, step))) for step in steps]
    data = b"".join(record(one) for one in events)
    found = list(notable_events([data[:50_000], data[50_000:]]))
    assert found == [*events[:10], events[len(steps)]]
    # Two values of one event, and what is torn.
    both = data_of(0, scalar_value("t0", 0.0), scalar_value("new", 0.0))
    assert list(notable_events([data + record(both) + record(both)[:-1]]))[-1] == both
    assert list(notable_events([b"\xff" * 100])) == []


def test_tags_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kinds, "MAX_TAGS", 3)
    assert len(kinds_of(data_of(step, scalar_value(f"t{step}", 1.0)) for step in range(10))) == 3


def test_more_new_events_than_are_taken_at_once() -> None:
    events = [data_of(0, scalar_value(f"t{number}", 1.0)) for number in range(20_000)]
    assert list(notable_events([b"".join(map(record, events))])) == events
