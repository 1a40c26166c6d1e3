from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from boardd.events import scalars
from boardd.events.scalars import encode_scalars
from boardd.events.tag_names import TagNames
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

Row = tuple[float, int, float, str]

EDGE_ROWS: list[Row] = [
    (1.7e9, 0, 0.0, "loss"),
    (1.7e9, 1, -0.0, "loss"),
    (1700000000.123456, 127, 0.625, "loss"),
    (1.7e9, 128, 1e-45, "train/loss"),
    (1.7e9, 2**14, 1e-320, "x"),
    (1.7e9, 2**31, 1.0 + 2**-24, "rounds to even"),
    (1.7e9, 2**63 - 1, 3.4028235e38, "largest float32"),
    (1.7e9, -1, 3.5e38, "overflows float32"),
    (1.7e9, -(2**63), -1e300, "overflows float32, negative"),
    (0.0, 5, 1.0, "no wall time"),
    (-0.0, 5, 1.0, "negative zero"),
    (-1.5, 5, float("inf"), "infinite"),
    (1.7e9, 5, float("-inf"), "infinite, negative"),
    (1.7e9, 6, float("nan"), "not a number"),
    (1.7e9, 7, 1.0, ""),
    (1.7e9, 7, 1.0, "größe/損失/🙂"),
    (1.7e9, 7, 1.0, "t" * 117),  # summary length grows to two bytes around here
    (1.7e9, 7, 1.0, "t" * 118),
    (1.7e9, 7, 1.0, "t" * 119),
    (1.7e9, 7, 1.0, "t" * 120),
    (1.7e9, 7, 1.0, "t" * 121),
    (1.7e9, 7, 1.0, "t" * 127),
    (1.7e9, 7, 1.0, "t" * 128),
    (1.7e9, 7, 1.0, "t" * 20_000),
]


def columns(
    rows: Sequence[Row],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[bytes]]:
    tags = sorted({tag for *_, tag in rows})
    return (
        np.array([row[0] for row in rows], np.float64),
        np.array([row[1] for row in rows], np.int64),
        np.array([row[2] for row in rows], np.float64),
        np.array([tags.index(row[3]) for row in rows], np.intp),
        [tag.encode() for tag in tags],
    )


def by_tensorboard(rows: Sequence[Row]) -> bytes:
    """The same events by TensorBoard's own messages and record writer."""
    out = io.BytesIO()
    writer = RecordWriter(out)
    for wall_time, step, value, tag in rows:
        scalar = summary_pb2.Summary.Value(tag=tag, simple_value=value)
        summary = summary_pb2.Summary(value=[scalar])
        event = event_pb2.Event(wall_time=wall_time, step=step, summary=summary)
        writer.write(event.SerializeToString())
    return out.getvalue()


@pytest.fixture(scope="module", autouse=True)
def _compiled() -> None:
    encode_scalars(*columns(EDGE_ROWS[:1] * (scalars.UNCOMPILED_MAX + 1)))


@pytest.mark.parametrize("row", EDGE_ROWS, ids=lambda row: row[3][:30])
def test_one_scalar_equals_protobuf(row: Row) -> None:
    assert encode_scalars(*columns([row])) == by_tensorboard([row])


def test_many_scalars_equal_protobuf() -> None:
    rows = EDGE_ROWS * 5
    assert encode_scalars(*columns(rows)) == by_tensorboard(rows)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(allow_nan=False, allow_infinity=False),
            st.integers(-(2**63), 2**63 - 1),
            st.floats(),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=200),
        ),
        max_size=8,
    )
)
def test_any_scalars_equal_protobuf(rows: list[Row]) -> None:
    assert encode_scalars(*columns(rows)) == by_tensorboard(rows)


def test_without_numba_scalars_are_the_same_bytes() -> None:
    script = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "from test_scalars import EDGE_ROWS, columns\n"
        "from boardd.events import readiness\n"
        "from boardd.events.scalars import encode_scalars\n"
        "data = encode_scalars(*columns(EDGE_ROWS))\n"
        "assert 'numba' not in sys.modules, 'a few scalars loaded numba'\n"
        "readiness.await_kernels()\n"
        "many = encode_scalars(*columns(EDGE_ROWS * 100))\n"
        "assert many == data * 100, 'many scalars differ'\n"
        "assert 'numba' not in sys.modules, 'many scalars loaded numba'\n"
        "readiness.kernels_are_there()\n"
        "assert encode_scalars(*columns(EDGE_ROWS * 100)) == many\n"
        "assert 'numba' in sys.modules\n"
        "sys.stdout.buffer.write(data)\n"
    )
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", script, here], stdout=subprocess.PIPE, check=True, timeout=120
    )
    assert done.stdout == encode_scalars(*columns(EDGE_ROWS))


def test_short_scalar_takes_at_most_45_bytes() -> None:
    data = encode_scalars(*columns([(1.7e9, 100_000, 0.5, "loss")]))
    assert len(data) <= 45


def test_columns_may_be_strided_unaligned_and_readonly() -> None:
    wall_time, step, value, tag_index, tags = columns(EDGE_ROWS)
    row = np.dtype([("pad", "u1"), ("time", "<f8"), ("step", "<i8"), ("value", "<f8")])
    table = np.zeros(len(wall_time), row)
    table["time"], table["step"], table["value"] = wall_time, step, value
    table = np.frombuffer(table.tobytes(), row)
    small_index = tag_index.astype(np.uint16)
    data = encode_scalars(table["time"], table["step"], table["value"], small_index, tags)
    assert data == encode_scalars(wall_time, step, value, tag_index, tags)


def test_no_scalars_are_no_bytes() -> None:
    empty = np.empty(0)
    nothing = encode_scalars(empty, empty.astype(np.int64), empty, empty.astype(np.intp), [])
    assert nothing == b""


def test_threads_may_encode_at_once() -> None:
    rows = EDGE_ROWS * 20
    expected = by_tensorboard(rows)
    with ThreadPoolExecutor(4) as pool:
        results = pool.map(lambda _: encode_scalars(*columns(rows)), range(16))
        assert all(result == expected for result in results)


@pytest.mark.parametrize("wall_time", [float("nan"), float("inf"), float("-inf")])
def test_wall_time_must_be_finite(wall_time: float) -> None:
    rows = [(1.7e9, 1, 1.0, "a"), (wall_time, 2, 1.0, "a")]
    with pytest.raises(ValueError, match=f"wall_time {wall_time}"):
        encode_scalars(*columns(rows))


@pytest.mark.parametrize("index", [-1, 1, 2**40])
def test_tag_index_out_of_range(index: int) -> None:
    with pytest.raises(ValueError, match="tag_index"):
        encode_scalars(
            np.zeros(1), np.zeros(1, np.int64), np.zeros(1), np.array([index]), [b"only"]
        )


def test_columns_of_different_length() -> None:
    with pytest.raises(ValueError, match=r"value \(3,\)"):
        encode_scalars(
            np.zeros(2), np.zeros(2, np.int64), np.zeros(3), np.zeros(2, np.intp), [b"a"]
        )


def test_tag_must_be_utf8() -> None:
    # A reader would fail to parse the event, and with it the file.
    with pytest.raises(ValueError, match="utf-8"):
        encode_scalars(
            np.zeros(1), np.zeros(1, np.int64), np.zeros(1), np.zeros(1, np.intp), [b"\xff"]
        )


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["no directory", "broken files"])
def test_trouble_with_numbas_cache_stops_nothing(trouble: str, tmp_path: Path) -> None:
    script = (
        "import sys; sys.path[:0] = sys.argv[2:]\n"
        "if sys.argv[1] == 'no directory':\n"
        "    from numba.core import caching\n"
        "    caching.CacheImpl._locator_classes = []\n"
        "from test_scalars import EDGE_ROWS, columns\n"
        "from boardd.events import scalars\n"
        "rows = EDGE_ROWS + EDGE_ROWS[:1] * scalars.UNCOMPILED_MAX\n"
        "sys.stdout.buffer.write(scalars.encode_scalars(*columns(rows)))\n"
    )
    command = [sys.executable, "-c", script, trouble, str(Path(__file__).parent)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    if trouble == "broken files":
        subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=120)
        cached = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert cached
        for path in cached:
            path.write_bytes(path.read_bytes()[:-20])
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, timeout=120)
    rows = EDGE_ROWS + EDGE_ROWS[:1] * scalars.UNCOMPILED_MAX
    assert done.stdout == encode_scalars(*columns(rows))


def test_names_that_are_kept_grow_with_the_tags() -> None:
    rows = EDGE_ROWS * 20
    wall_time, step, value, tag_index, tags = columns(rows)
    names = TagNames()
    for known in range(1, len(tags) + 1):
        some = tag_index < known
        made = encode_scalars(
            wall_time[some], step[some], value[some], tag_index[some], tags[:known], names=names
        )
        assert made == by_tensorboard([row for row in rows if row[3].encode() in tags[:known]])
