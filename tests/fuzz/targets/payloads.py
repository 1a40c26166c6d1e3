"""What ranks and clients log: payloads through the reductions, partials through the codec."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Callable
from typing import Final

from boardd.partials import codec
from boardd.partials.partial import Partial
from boardd.summaries.reduction import EncodedSummary, SummaryError
from boardd.summaries.summarize import present, reduce_shared, summarize
from boardd_protos import boardd_pb2 as pb
from boardd_protos.dtypes import ITEM_BYTES
from boardd_protos.invalid import InvalidRecordError
from google.protobuf.message import DecodeError

from fuzz.script import Script

#: Of one tensor; larger ones are given without their data, and refused.
MAX_TENSOR_BYTES: Final = 1 << 16
#: Of a reduction, beside its tensors.
MAX_WORKING_BYTES: Final = 1 << 26

#: Threads take turns so often while one of them changes what the other reads.
_SWITCH_SECS: Final = 1e-5

_TAG: Final = "tag"
_STEP: Final = 7
_WALL_TIME: Final = 1e9


def payload(data: bytes) -> None:
    """One record, by value or in shared memory, for a run of one writer or of ranks."""
    script = Script(data)
    way = script.number()
    encoded = script.part()
    given = _tensors(encoded, script)
    chunks = {number: [data] for number, data in enumerate(given)}
    maps = {0: memoryview(b"".join(given))} if way & 1 else None
    arguments = (_TAG, _STEP, _WALL_TIME, encoded, chunks, MAX_WORKING_BYTES, maps)
    if not way & 2:
        _typed(lambda: summarize(*arguments))
        return
    shared: list[Partial] = []
    for rank in (0, 1):
        _typed(lambda rank=rank: shared.append(reduce_shared(*arguments, rank=rank)))
    if len(shared) == 2:
        _merged(*shared)


def changing(data: bytes) -> None:
    """One record in shared memory, to which its client writes while it is reduced."""
    script = Script(data)
    encoded = script.part()
    memory = bytearray(b"".join(_tensors(encoded, script)))
    changes = script.rest() or b"\xff"
    if not memory:
        return
    is_over = threading.Event()

    def change() -> None:
        at = 0
        while not is_over.is_set():
            at += 1
            memory[at * changes[at % len(changes)] % len(memory)] = changes[-at % len(changes)]

    client = threading.Thread(target=change)
    before_secs = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_SECS)
    client.start()
    try:
        maps = {0: memoryview(memory)}
        record = (_TAG, _STEP, _WALL_TIME, encoded, {}, MAX_WORKING_BYTES, maps)
        _typed(lambda: summarize(*record))
        _typed(lambda: _stored(reduce_shared(*record, rank=3)))
    finally:
        is_over.set()
        client.join()
        sys.setswitchinterval(before_secs)


def partial(data: bytes) -> None:
    """A partial as another daemon or a journal tells it."""
    try:
        found = codec.decode(data)
    except InvalidRecordError:
        return
    _merged(found, codec.decode(codec.encode(found)))


def _merged(one: Partial, other: Partial) -> None:
    """Whatever could be read can be merged, stored and shown."""
    both = one.merge(other)
    for partial in (one, other):
        _stored(partial)
    assert codec.encode(other.merge(one)) == codec.encode(both)
    assert both.size_bytes >= 0
    _typed(lambda: present(_TAG, _STEP, _WALL_TIME, both))


def _stored(partial: Partial) -> None:
    """What a rank contributes can be read from the journal again."""
    encoded = codec.encode(partial)
    assert codec.encode(codec.decode(encoded)) == encoded


def _typed(reduce: Callable[[], EncodedSummary | None]) -> None:
    """Fails unless ``reduce`` returns, or says what is wrong with the record."""
    try:
        reduce()
    except SummaryError as error:
        if error.reason == pb.REDUCTION_FAILED and not isinstance(error.__cause__, MemoryError):
            raise AssertionError("an error of no type") from error


def _tensors(encoded: bytes, script: Script) -> list[bytes]:
    """What the script says of each tensor, again and again until it is as long as it must be."""
    try:
        message = pb.Payload.FromString(encoded)
    except DecodeError:
        return []
    found = []
    for tensor in message.tensors:
        data = script.part() or b"\0"
        size_bytes = math.prod(tensor.shape) * ITEM_BYTES.get(tensor.dtype, 1)
        if 0 <= size_bytes <= MAX_TENSOR_BYTES:
            data = (data * (size_bytes // len(data) + 1))[:size_bytes]
        found.append(data)
    return found
