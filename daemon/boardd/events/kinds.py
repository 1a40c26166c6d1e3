"""What kind of summary each tag of an event file is, whoever wrote the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
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


def kinds_of(events: Iterable[bytes]) -> dict[bytes, SummaryKind]:
    """Returns the kind of each tag, the first that it has, in serialized ``events``.

    Takes up to ``MAX_TAGS`` tags. Kinds that boardd does not know are left out, as are
    events that cannot be read.
    """
    kinds: dict[bytes, SummaryKind] = {}
    known: set[bytes] = set()
    for data in events:
        if len(kinds) >= MAX_TAGS:
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
            kind = kind_of(value)
            if kind is not None:
                kinds.setdefault(value.tag.encode(), kind)
    return kinds


def notable_events(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yields serialized events, without those that show no other tag or kind than one before.

    ``chunks`` are the bytes of an event file in order, which are not checked; what is
    damaged ends it. Releases the GIL for most of the work.
    """
    from boardd.events.kinds_kernel import notable

    seen = np.zeros(2 << 19, np.uint64)
    found, end = np.zeros(1 << 14, np.uint64), np.zeros(2, np.uint64)
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        while True:
            notable(np.frombuffer(rest, np.uint8), seen, found, end)
            count, at = end.tolist()
            for start, stop in found[:count].reshape(-1, 2).tolist():
                yield bytes(rest[start:stop])
            del rest[:at]
            if count + 1 < len(found):
                break


def _after_step(data: bytes) -> int:
    """Where an event's step ends, if wall time and step are first, as all writers have them."""
    at = _WALL_TIME_BYTES
    if len(data) > at and data[at] == _STEP_TAG:
        at += 1
        while at < len(data) and data[at] >= 0x80:
            at += 1
        at += 1
    return at


def kind_of(value: Summary.Value) -> SummaryKind | None:
    """The kind of a value by the plugin that it names, else by its field; None if unknown."""
    plugin = _BY_PLUGIN.get(value.metadata.plugin_data.plugin_name)
    if plugin is not None:
        return plugin
    field = value.WhichOneof("value")
    return _BY_FIELD.get(field or "")
