from __future__ import annotations

import numpy as np
import pytest
from boardd.events import event, kinds
from boardd.events.event_pb2 import Summary
from boardd.events.kinds import kinds_of
from boardd.events.tensors import bytes_proto, plugin_value, tensor_value
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
    assert kinds_of(events, 1 << 20) == {
        b"loss": SummaryKind.SCALAR,
        b"other": SummaryKind.SCALAR,
        b"lost": SummaryKind.SCALAR,
        b"picture": SummaryKind.IMAGE,
        b"words": SummaryKind.TEXT,
        b"new style": SummaryKind.SCALAR,
        b"plain": SummaryKind.TENSOR,
    }


def test_no_more_is_read_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    events = [data_of(step, scalar_value(f"t{step}", 1.0)) for step in range(10)]
    assert len(kinds_of(events, sum(map(len, events[:4])))) == 4
    monkeypatch.setattr(kinds, "MAX_TAGS", 3)
    assert len(kinds_of(events, 1 << 20)) == 3
