"""What kind of summary each tag of an event file is, whoever wrote the file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from boardd_protos.summary_kind import SummaryKind
from google.protobuf.message import DecodeError

from boardd.events.event_pb2 import Event, Summary

#: Tags of one file that are told.
MAX_TAGS: Final = 200_000
#: Bytes of what an event shows, without its value, by which others like it are passed over.
_MAX_KNOWN_BYTES: Final = 1024

_STEP_TAG: Final = 0x10
_WALL_TIME_BYTES: Final = 9
#: What scalars end with: the tag of a float32, and the float32.
_VALUE_TAG: Final = b"\x15"
_VALUE_BYTES: Final = 4

_BY_FIELD: Final = {
    "simple_value": SummaryKind.SCALAR,
    "histo": SummaryKind.HISTOGRAM,
    "image": SummaryKind.IMAGE,
    "audio": SummaryKind.AUDIO,
}
#: By the names that TensorBoard's plugins have in a value's metadata.
_BY_PLUGIN: Final = {
    "scalars": SummaryKind.SCALAR,
    "histograms": SummaryKind.HISTOGRAM,
    "images": SummaryKind.IMAGE,
    "audio": SummaryKind.AUDIO,
    "text": SummaryKind.TEXT,
    "tensor": SummaryKind.TENSOR,
    "pr_curves": SummaryKind.PR_CURVE,
    "mesh": SummaryKind.MESH,
    "hparams": SummaryKind.HPARAM,
    "custom_scalars": SummaryKind.CUSTOM_SCALAR,
}


def kinds_of(events: Iterable[bytes], max_bytes: int) -> dict[bytes, SummaryKind]:
    """Returns the kind of each tag, the first that it has, in serialized ``events``.

    Reads about ``max_bytes`` of them, and up to ``MAX_TAGS`` tags. Kinds that boardd does
    not know are left out, as are events that cannot be read.
    """
    kinds: dict[bytes, SummaryKind] = {}
    known: set[bytes] = set()
    for data in events:
        max_bytes -= len(data)
        if max_bytes < 0 or len(kinds) >= MAX_TAGS:
            break
        # Nearly all events are scalars whose tag was met before.
        shown = data[_after_step(data) : -_VALUE_BYTES]
        if shown in known:
            continue
        if shown.endswith(_VALUE_TAG) and len(shown) <= _MAX_KNOWN_BYTES and len(known) < MAX_TAGS:
            known.add(shown)
        try:
            event = Event.FromString(data)
        except DecodeError:
            continue
        for value in event.summary.value:
            kind = _kind(value)
            if kind is not None:
                kinds.setdefault(value.tag.encode(), kind)
    return kinds


def _after_step(data: bytes) -> int:
    """Where an event's step ends, if wall time and step are first, as all writers have them."""
    at = _WALL_TIME_BYTES
    if len(data) > at and data[at] == _STEP_TAG:
        at += 1
        while at < len(data) and data[at] >= 0x80:
            at += 1
        at += 1
    return at


def _kind(value: Summary.Value) -> SummaryKind | None:
    plugin = _BY_PLUGIN.get(value.metadata.plugin_data.plugin_name)
    if plugin is not None:
        return plugin
    field = value.WhichOneof("value")
    return _BY_FIELD.get(field or "")
