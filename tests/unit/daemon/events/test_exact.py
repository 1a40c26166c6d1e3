from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from boardd.events import event
from boardd.events.exact import (
    SCALAR_BYTES,
    ExactPartial,
    partial_of,
    scalar_of,
    with_partial,
    with_scalar,
)
from boardd.events.scalars import encode_scalars
from boardd.events.scan import scan
from boardd.events.values import scalar_value
from boardd.events.wire import EncodedValue
from boardd_protos.summary_kind import SummaryKind
from support.tfrecords import read_records
from tensorboard.compat.proto import event_pb2

VALUES = [0.1, 0.5, -1e-300, math.inf, -math.inf, math.nan, -0.0, 1e300, 2.0**-149]
ROUNDED = [0.1, -1e-300, 1e300]


def encoded(values: Sequence[float], *, is_exact: bool) -> bytes:
    count = len(values)
    return encode_scalars(
        np.full(count, 1e9),
        np.arange(count),
        np.array(values),
        np.zeros(count, np.intp),
        [b"loss"],
        is_exact=is_exact,
    )


def test_only_rounded_scalars_have_an_exact_value() -> None:
    records = read_records(encoded(VALUES, is_exact=True))
    found = [scalar_of(data) for data in records]
    assert [value for value in found if value is not None] == ROUNDED
    assert [value is not None for value in found] == [value in ROUNDED for value in VALUES]


def test_the_rest_of_the_event_is_what_it_is_without() -> None:
    plain = read_records(encoded(VALUES, is_exact=False))
    for data, exact in zip(plain, read_records(encoded(VALUES, is_exact=True)), strict=True):
        assert exact[: len(data)] == data
        assert len(exact) - len(data) in (0, SCALAR_BYTES)


def test_protobuf_and_the_compiled_loop_encode_alike() -> None:
    """Each in a process of its own, since the loop once loaded stays."""
    program = (
        "import numpy as np, sys\n"
        "from boardd.events import scalars\n"
        "if sys.argv[1] == 'loop': scalars._load_kernel()\n"
        "v = np.array([0.1, 0.5, np.nan, 1e300, -0.0, 1e-300])\n"
        "print(scalars.encode_scalars(np.ones(6), np.arange(6), v, np.zeros(6, int), [b'a'],"
        " is_exact=True).hex())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program, how], capture_output=True, check=True, timeout=120
        ).stdout
        for how in ("loop", "protobuf")
    }
    assert len(outputs) == 1


def test_one_record_takes_an_exact_value() -> None:
    plain = event.summary(1e9, 3, scalar_value("loss", 0.1))
    (data,) = read_records(with_scalar(plain, 0.1))
    assert scalar_of(data) == 0.1
    assert event_pb2.Event.FromString(data).summary.value[0].simple_value == np.float32(0.1)


def test_a_summary_keeps_its_partial() -> None:
    value = EncodedValue(b"h", SummaryKind.HISTOGRAM, b"\x0a\x01h")
    exact = ExactPartial(b"h", bytes(range(256)) * 300)
    (data,) = read_records(with_partial(event.summary(1e9, 3, value), exact))
    assert partial_of(data) == exact
    assert scalar_of(data) is None
    assert event_pb2.Event.FromString(data).summary.value[0].tag == "h"


@pytest.mark.parametrize("read", [scalar_of, partial_of])
def test_other_events_have_none(read: object) -> None:
    assert callable(read)
    for data in (b"", b"\x09" + bytes(8), b"\x81\xe9\x09", b"\x8a\xe9\x09\xff", b"\xff" * 40):
        assert read(data) is None


def test_a_scan_reads_exact_values() -> None:
    found = scan(encoded(VALUES, is_exact=True))
    assert np.array_equal(found.value, VALUES, equal_nan=True)
