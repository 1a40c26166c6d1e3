from __future__ import annotations

import json
import struct
from pathlib import Path

from boardd_client.memory.ring import Ring
from boardd_client.session import scalar_history
from boardd_client.session.scalar_history import ScalarHistory
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameKind

ROW_BYTES = 28


def observe(history: ScalarHistory, view: memoryview, count: int) -> None:
    """Keeps what a log without sets of scalars holds."""
    history.observe(view, count, {}.get)


def frames(*series: int, payloads: bool = False) -> tuple[memoryview, int]:
    """Scalars of the given series, steps counted from 0; with longer frames in between or not."""
    log = Ring(memoryview(bytearray(1 << 20)))
    for step, number in enumerate(series):
        log.append_scalar(number, step, 100.0 + step, step / 2)
        if payloads:
            log.append(FrameKind.SUMMARY, number, step, 0.0, b"payload" * (step % 3))
    return log.read(0, 1 << 40, 1 << 30)


def test_scalars_are_exported_by_name_in_the_order_they_were_logged() -> None:
    history = ScalarHistory(1 << 16)
    observe(history, *frames(1, 2, 1, 3))
    observe(history, *frames(2, payloads=True))
    assert history.export({1: "a", 2: "b"}) == {
        "a": [[100.0, 0, 0.0], [102.0, 2, 1.0]],
        "b": [[101.0, 1, 0.5], [100.0, 0, 0.0]],
    }


def test_only_scalars_are_kept_of_mixed_frames() -> None:
    history = ScalarHistory(1 << 20)
    observe(history, *frames(*[1] * 100, payloads=True))
    rows = history.export({1: "a"})["a"]
    assert [step for _, step, _ in rows] == list(range(100))


def test_the_scalars_of_a_set_are_kept_one_by_one_and_in_order() -> None:
    log = Ring(memoryview(bytearray(1 << 16)))
    log.append_scalar(1, 0, 100.0, 0.5)
    log.append(FrameKind.SCALARS, 9, 1, 101.0, struct.pack("<2d", 1.5, 2.5))
    log.append(FrameKind.SUMMARY, 1, 1, 101.0, b"payload")
    log.append(FrameKind.SCALARS, 8, 1, 101.0, struct.pack("<2d", 7.0, 7.0))  # a set that is gone
    log.append_scalar(2, 2, 102.0, 3.5)
    history = ScalarHistory(1 << 16)
    view, last = log.read(0, 1 << 40, 1 << 30)
    history.observe(view, last, {9: pb.SeriesSet(set=9, series=[2, 1])}.get)
    assert history.export({1: "a", 2: "b"}) == {
        "a": [[100.0, 0, 0.5], [101.0, 1, 2.5]],
        "b": [[101.0, 1, 1.5], [102.0, 2, 3.5]],
    }


def test_frames_of_one_set_in_a_row_are_kept_in_order() -> None:
    log = Ring(memoryview(bytearray(1 << 20)))
    for step in range(300):
        number = 8 if step % 100 == 50 else 9
        log.append(FrameKind.SCALARS, number, step, float(step), struct.pack("<2d", step, -step))
        if step % 30 == 0:
            log.append_scalar(3, step, float(step), 0.0)
    history = ScalarHistory(1 << 20)
    sets = {9: pb.SeriesSet(series=[1, 2]), 8: pb.SeriesSet(series=[2, 1])}
    view, last = log.read(0, 1 << 40, 1 << 30)
    history.observe(view, last, sets.get)
    exported = history.export({1: "a", 2: "b", 3: "c"})
    signs = [-1 if step % 100 == 50 else 1 for step in range(300)]
    assert exported["a"] == [[step, step, signs[step] * step] for step in range(300)]
    assert exported["b"] == [[step, step, -signs[step] * step] for step in range(300)]
    assert [step for _, step, _ in exported["c"]] == list(range(0, 300, 30))


def test_past_the_budget_the_oldest_are_lost_and_counted() -> None:
    history = ScalarHistory(10_000 * ROW_BYTES)
    for _ in range(3):
        observe(history, *frames(*[1] * 6000))
    rows = history.export({1: "a"})["a"]
    assert len(rows) <= 10_000
    assert len(rows) + history.lost == 18_000
    assert [step for _, step, _ in rows[-6000:]] == list(range(6000))


def test_clearing_forgets_some_series_and_keeps_the_others() -> None:
    history = ScalarHistory(1 << 20)
    observe(history, *frames(*[1, 2] * 5000))
    history.clear([1])
    assert list(history.export({1: "a", 2: "b"})) == ["b"]
    assert len(history.export({2: "b"})["b"]) == 5000
    observe(history, *frames(1))
    assert len(history.export({1: "a"})["a"]) == 1


def test_a_budget_of_nothing_keeps_nothing() -> None:
    assert not ScalarHistory(0).is_enabled


def test_the_file_is_ascii_json(tmp_path: Path) -> None:
    path = tmp_path / "scalars.json"
    scalar_history.write(str(path), {"größe": [[1.5, 2, 0.25]]})
    assert json.loads(path.read_text(encoding="ascii")) == {"größe": [[1.5, 2, 0.25]]}
