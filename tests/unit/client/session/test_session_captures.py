"""Tensors and lazy scalars of a session: room for them, and copies that take time or fail."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
from boardd_client.session.captures import Capture
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameKind
from numpy.typing import NDArray
from support.client_session import (
    Copy,
    Daemon,
    balance,
    claim,
    define,
    log_scalars,
    log_tensor,
    make_session,
)


def test_nothing_overtakes_a_record_whose_tensor_is_still_being_copied() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 2)
    first, second = claim(session, series, b"first"), claim(session, series, b"second")
    log_scalars(session, series, 2)
    session.copies_started(second, [])
    daemon.take_all(session)
    assert daemon.received == 2
    assert session.next_capture() is None  # its copy has not begun
    session.copies_started(first, [Copy()])
    assert session.next_capture() is first
    session.commit(first)
    daemon.take_all(session)
    assert daemon.received == 6
    assert daemon.tensors == {3: [b"first"], 4: [b"second"]}


@pytest.mark.parametrize(
    ("dtype", "data", "value"),
    [
        ("float32", np.float32(0.75).tobytes(), 0.75),
        ("float16", np.float16(-2).tobytes(), -2.0),
        ("int64", np.int64(-7).tobytes(), -7.0),
        ("bool", b"\1", 1.0),
        ("bfloat16", b"\xc0\x3f", 1.5),
    ],
)
def test_a_lazy_scalar_becomes_a_scalar_like_any_other(
    dtype: str, data: bytes, value: float
) -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    capture = session.claim(series, 3, 1.0, b"", [len(data)], scalar_dtype=dtype)
    assert isinstance(capture, Capture)
    session.copies_started(capture, [Copy()])
    capture.slots[0].view[:] = data
    session.commit(capture)
    assert session.statistics().arena_used_bytes == 0
    daemon.take_all(session)
    (frame,) = daemon.frames
    assert (frame.kind, frame.step, frame.value) == (FrameKind.SCALAR, 3, value)


@pytest.mark.parametrize("scalar_dtype", ["", "float32"])
def test_a_failed_copy_becomes_a_void_record_and_is_counted_once(scalar_dtype: str) -> None:
    session, daemon = make_session(), Daemon()
    run, series = define(session)
    daemon.open(session)
    payload = b"" if scalar_dtype else b"some payload"
    capture = session.claim(series, 3, 1.0, payload, [4], scalar_dtype=scalar_dtype)
    assert isinstance(capture, Capture)
    session.copies_started(capture, [Copy()])
    session.abort(capture, "device lost")
    log_scalars(session, series, 1)
    assert session.statistics().arena_used_bytes == 0
    daemon.take_all(session)
    aborted, _ = daemon.frames
    assert aborted.kind == FrameKind.ABORTED
    assert aborted.payload == (b"" if scalar_dtype else b"device lost ")
    rejected = pb.Rejected(sequence=1, records=1, reason=pb.CAPTURE_FAILED, message="device lost")
    assert session.rejected(rejected) is run
    session.acknowledged(pb.Acknowledged(written_sequence=2))
    counts = session.statistics()
    assert dict(counts.rejected) == {"CAPTURE_FAILED": 1}
    assert counts.written == 1
    assert (run.rejected, run.last_rejection) == (1, "CAPTURE_FAILED: device lost")
    balance(session)


@pytest.mark.parametrize(
    ("fill", "size_bytes", "reason"),
    [
        (0, 1 << 20, "tensor_too_large"),
        (60_000, 10_000, "arena_full"),
        (60_000, 1 << 20, "tensor_too_large"),
    ],
)
def test_a_tensor_without_room_is_refused_with_the_reason(
    fill: int, size_bytes: int, reason: str
) -> None:
    session = make_session()
    _, series = define(session)
    if fill:
        log_tensor(session, series, bytes(fill))
    used_bytes = session.arena.used_bytes
    assert session.claim(series, 0, 1.0, b"p", [size_bytes]) == reason
    assert session.arena.used_bytes == used_bytes


def test_a_full_log_refuses_a_record_and_gives_its_slots_back() -> None:
    session = make_session(log_bytes=4096)
    _, series = define(session)
    while session.ring.append_scalar(series, 0, 1.0, 1.0):
        pass
    assert session.claim(series, 0, 1.0, b"p", [64]) == "log_full"
    assert session.arena.used_bytes == 0


def test_lazy_scalars_find_room_where_tensors_no_longer_do() -> None:
    session = make_session()
    _, series = define(session)
    while isinstance(capture := session.claim(series, 0, 1.0, b"p", [64]), Capture):
        session.copies_started(capture, [])
    assert isinstance(session.claim(series, 0, 1.0, b"", [4], scalar_dtype="float32"), Capture)
    assert session.ring.append_scalar(series, 0, 1.0, 1.0)


def test_frames_of_a_call_that_raises_after_they_are_numbered_are_lost_and_counted() -> None:
    session, daemon = make_session(log_bytes=480), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 6)
    daemon.take_all(session)
    session.acknowledged(pb.Acknowledged(written_sequence=6))
    targets = np.full(6, series, np.uint64)
    with pytest.raises(ValueError, match="broadcast"):  # two of six go to the buffer's start
        session.ring.append_scalars(targets, 0, 1.0, np.zeros(3))
    log_scalars(session, series, 1)
    daemon.take_all(session)
    aborted = sum(frame.kind == FrameKind.ABORTED for frame in daemon.frames)
    session.acknowledged(pb.Acknowledged(written_sequence=daemon.received))
    counts = session.statistics()
    assert (counts.accepted, counts.written, aborted) == (13, 7, 6)
    assert dict(counts.rejected) == {"CAPTURE_FAILED": aborted}
    balance(session)


class Interrupted(list[float]):
    """Values that run a signal handler while they are written to the ring."""

    def __init__(self, values: list[float], handler: Callable[[], None]) -> None:
        super().__init__(values)
        self._handler = handler

    def __getitem__(self, index: Any) -> Any:
        self._handler()
        return super().__getitem__(index)


def test_frames_that_a_handler_interrupted_are_written_if_its_own_loss_is_caught() -> None:
    session, daemon = make_session(log_bytes=960), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 17)
    daemon.take_all(session)
    session.acknowledged(pb.Acknowledged(written_sequence=17))
    caught = 0

    def log_in_vain() -> None:
        nonlocal caught
        session.ring.notify_backlog(1, lambda: None)  # so it takes the slow path
        with pytest.raises(ValueError, match="broadcast"):
            session.ring.append_scalars(np.full(5, series, np.uint64), 1, 1.0, np.zeros(4))
        caught += 1

    values = cast("NDArray[np.float64]", Interrupted([0.5] * 6, log_in_vain))
    last = session.ring.append_scalars(np.full(6, series, np.uint64), 1, 1.0, values)
    assert last == 23
    daemon.take_all(session)
    assert [frame.value for frame in daemon.frames[17:23]] == [0.5] * 6
    aborted = sum(frame.kind == FrameKind.ABORTED for frame in daemon.frames)
    session.acknowledged(pb.Acknowledged(written_sequence=daemon.received))
    assert aborted == 5 * caught > 0
    assert dict(session.statistics().rejected) == {"CAPTURE_FAILED": aborted}
    balance(session)
