from __future__ import annotations

import signal
import struct
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from boardd_client.memory.ring import Ring
from boardd_protos import frame as framing
from boardd_protos.frame import CLAIMED, HEADER_BYTES, FrameKind, frame_bytes
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

UNTIL_THE_LAST = 1 << 62
ENOUGH = 1 << 30


def targets(*series: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return np.array(series, np.uint64)


def make_ring(size_bytes: int = 4096, reserve_bytes: int = 0) -> Ring:
    return Ring(memoryview(bytearray(size_bytes)), reserve_bytes=reserve_bytes)


def read_all(ring: Ring, after: int = 0, max_bytes: int = ENOUGH) -> list[framing.Frame]:
    """Everything readable after a sequence number, by as many reads as it takes."""
    frames: list[framing.Frame] = []
    while True:
        view, last = ring.read(after, UNTIL_THE_LAST, max_bytes)
        if last == after:
            assert len(view) == 0
            return frames
        found = list(framing.decode(view))
        assert [frame.sequence for frame in found] == list(range(after + 1, last + 1))
        frames += found
        after = last


def test_a_scalar_is_the_frame_of_the_wire_byte_for_byte() -> None:
    ring = make_ring()
    assert ring.append_scalar(7, -5, 1700000000.25, 0.1) == 1
    assert ring.append_scalar(0xFFFFFFFF, (1 << 63) - 1, 0.0, float("-inf")) == 2
    view, last = ring.read(0, UNTIL_THE_LAST, ENOUGH)
    expected = framing.encode(framing.Frame(1, 0, 1, -5, 1700000000.25, 7, 0.1, b""))
    expected += framing.encode(
        framing.Frame(1, 0, 2, (1 << 63) - 1, 0.0, 0xFFFFFFFF, float("-inf"), b"")
    )
    assert bytes(view) == expected
    assert last == 2


def test_scalars_appended_together_are_the_frames_of_scalars_appended_one_by_one() -> None:
    together, one_by_one = make_ring(), make_ring()
    values = [0.1, float("-inf"), float("nan")]
    step = -(1 << 63)
    assert together.append_scalars(targets(7, 8, 0xFFFFFFFF), step, 2.5, np.array(values)) == 3
    for series, value in zip((7, 8, 0xFFFFFFFF), values, strict=True):
        one_by_one.append_scalar(series, step, 2.5, value)
    assert bytes(together.read(0, 9, ENOUGH)[0]) == bytes(one_by_one.read(0, 9, ENOUGH)[0])


def test_scalars_appended_together_go_round_the_end_of_the_buffer() -> None:
    ring = make_ring(10 * HEADER_BYTES + 8)
    for step in range(8):
        ring.append_scalar(1, step, 1.0, 1.0)
    assert ring.append_scalars(targets(1, 2, 3), 8, 1.0, np.arange(3.0)) == 0
    assert ring.last_sequence == 8
    ring.free(2)
    assert ring.append_scalars(targets(1, 2, 3), 8, 1.0, np.arange(3.0)) == 11
    assert [(frame.target, frame.value) for frame in read_all(ring, 8)] == [(1, 0), (2, 1), (3, 2)]
    assert ring.append_scalars(targets(1, 2), 9, 1.0, np.arange(2.0)) == 0
    assert ring.append_scalar(1, 9, 1.0, 1.0) == 12


@pytest.mark.parametrize("payload", [b"", b"1", b"12345678", b"x" * 1000])
def test_any_other_frame_is_the_frame_of_the_wire_byte_for_byte(payload: bytes) -> None:
    ring = make_ring()
    assert ring.append(FrameKind.SUMMARY, 3, 9, 2.5, payload) == 1
    view, _ = ring.read(0, UNTIL_THE_LAST, ENOUGH)
    assert bytes(view) == framing.encode(framing.Frame(2, 0, 1, 9, 2.5, 3, 0.0, payload))


@pytest.mark.parametrize("step", [1 << 63, -(1 << 63) - 1])
def test_a_step_outside_int64_appends_nothing(step: int) -> None:
    ring = make_ring()
    ring.append_scalar(1, 1, 1.0, 1.0)
    with pytest.raises(struct.error):
        ring.append_scalar(1, step, 1.0, 1.0)
    with pytest.raises(struct.error):
        ring.append(FrameKind.SUMMARY, 1, step, 1.0, b"payload")
    with pytest.raises(struct.error):
        ring.append_scalar(1, 1, 1.0, 10**400)
    with pytest.raises(struct.error):
        ring.append_scalars(targets(1, 2), step, 1.0, np.zeros(2))
    assert ring.append_scalar(1, 2, 1.0, 1.0) == 2
    assert [frame.step for frame in read_all(ring)] == [1, 2]


def test_a_refused_step_where_the_ring_wraps_appends_nothing() -> None:
    ring = make_ring(3 * HEADER_BYTES)
    for step in range(3):
        assert ring.append_scalar(1, step, 1.0, 1.0)
    ring.free(2)
    with pytest.raises(struct.error):
        ring.append_scalar(1, 1 << 63, 1.0, 1.0)
    assert ring.append_scalar(1, 3, 1.0, 1.0) == 4
    assert [frame.step for frame in read_all(ring, 2)] == [2, 3]


def test_scalars_fill_the_buffer_to_the_last_frame_and_then_none_goes_in() -> None:
    ring = make_ring(10 * HEADER_BYTES)
    for step in range(10):
        assert ring.append_scalar(1, step, 1.0, 1.0) == step + 1
    assert ring.append_scalar(1, 10, 1.0, 1.0) == 0
    assert ring.last_sequence == 10
    assert ring.used_bytes == 480
    ring.free(1)
    assert ring.append_scalar(1, 10, 1.0, 1.0) == 11
    assert ring.append_scalar(1, 11, 1.0, 1.0) == 0
    assert [frame.step for frame in read_all(ring, 1)] == list(range(1, 11))


def test_the_reserve_is_left_to_scalars_and_reserved_frames() -> None:
    ring = make_ring(1024, reserve_bytes=512)
    summaries = 0
    while ring.append(FrameKind.SUMMARY, 1, 0, 1.0, b"x" * 16):
        summaries += 1
    assert summaries == 512 // frame_bytes(16)
    assert ring.append(FrameKind.SCALAR, 1, 0, 1.0, claimed=True, reserved=True)
    scalars = 0
    while ring.append_scalar(1, 0, 1.0, 1.0):
        scalars += 1
    assert scalars == 9


def test_a_frame_of_half_the_buffer_fits_an_empty_log_wherever_it_stands() -> None:
    ring = make_ring(480)
    assert ring.largest_frame_bytes == 240
    for size in (0, 100, 191, 192) * 10:
        assert ring.append_scalar(1, 0, 1.0, 1.0)
        ring.free(ring.last_sequence)
        assert ring.append(FrameKind.SUMMARY, 1, 0, 1.0, b"x" * size)
        assert len(read_all(ring, ring.freed_sequence)) == 1
        ring.free(ring.last_sequence)
        assert ring.used_bytes == 0


def test_reading_stops_before_a_pending_frame_and_goes_on_when_it_is_complete() -> None:
    ring = make_ring()
    ring.append_scalar(1, 0, 1.0, 1.0)
    lazy = ring.append(FrameKind.SCALAR, 1, 1, 1.0, claimed=True)
    summary = ring.append(FrameKind.SUMMARY, 1, 2, 1.0, b"p", claimed=True)
    ring.append_scalar(1, 3, 1.0, 3.0)
    assert ring.first_claimed() == lazy
    assert [frame.sequence for frame in read_all(ring)] == [1]
    ring.commit(summary)  # out of order
    assert not ring.is_claimed(summary)
    assert [frame.sequence for frame in read_all(ring)] == [1]
    ring.commit_scalar(lazy, 0.75)
    assert ring.first_claimed() is None
    frames = read_all(ring)
    assert [frame.flags for frame in frames] == [0, 0, 0, 0]
    assert frames[1].value == 0.75


def test_a_pending_frame_is_marked_in_the_buffer() -> None:
    buffer = bytearray(480)
    Ring(memoryview(buffer)).append(FrameKind.SUMMARY, 1, 2, 1.0, b"p", claimed=True)
    (frame,) = framing.decode(buffer[: frame_bytes(1)])
    assert frame.flags == CLAIMED


@pytest.mark.parametrize(
    ("payload", "reason", "kept"),
    [
        (b"", "why", b""),
        (b"x" * 8, "why", b"why     "),
        (b"x" * 2, "why", b"wh"),
        (b"x" * 3, "aé€", b"a\xc3\xa9"),
        (b"x" * 2, "aé", b"a "),
    ],
)
def test_an_aborted_frame_keeps_its_size_and_as_much_of_the_reason_as_fits(
    payload: bytes, reason: str, kept: bytes
) -> None:
    ring = make_ring()
    sequence = ring.append(FrameKind.SUMMARY, 1, 2, 1.0, payload, claimed=True)
    ring.append_scalar(1, 3, 1.0, 1.0)
    ring.abort(sequence, reason)
    aborted, scalar = read_all(ring)
    assert (aborted.kind, aborted.flags, aborted.payload) == (FrameKind.ABORTED, 0, kept)
    assert scalar.sequence == 2


def test_reads_are_cut_at_whole_frames_but_are_never_empty() -> None:
    ring = make_ring()
    for step in range(10):
        ring.append_scalar(1, step, 1.0, 1.0)
    ring.append(FrameKind.SUMMARY, 1, 0, 1.0, b"x" * 500)
    assert ring.read(0, UNTIL_THE_LAST, 100)[1] == 2
    assert ring.read(0, UNTIL_THE_LAST, 1)[1] == 1
    assert ring.read(0, 4, ENOUGH)[1] == 4
    assert ring.read(9, UNTIL_THE_LAST, 500)[1] == 10
    view, last = ring.read(10, UNTIL_THE_LAST, 1)
    assert (len(view), last) == (frame_bytes(500), 11)


def test_what_was_freed_cannot_be_read_and_what_is_pending_is_not_freed() -> None:
    ring = make_ring()
    for step in range(4):
        ring.append_scalar(1, step, 1.0, 1.0)
    ring.append(FrameKind.SCALAR, 1, 4, 1.0, claimed=True)
    ring.free(100)
    assert ring.freed_sequence == 4
    with pytest.raises(ValueError, match="frame 1 was freed"):
        ring.read(0, UNTIL_THE_LAST, ENOUGH)
    with pytest.raises(KeyError):
        ring.abort(4, "gone")
    assert ring.target_of(4) is None
    assert ring.target_of(5) == 1


def test_the_backlog_is_notified_once_at_the_count_and_again_when_asked() -> None:
    calls: list[int] = []
    ring = make_ring()

    def notify() -> None:
        calls.append(ring.last_sequence)

    ring.notify_backlog(5, notify)
    for step in range(20):
        ring.append_scalar(1, step, 1.0, 1.0)
    assert calls == [4]  # while the fifth is appended
    ring.notify_backlog(3, notify)
    ring.append_scalar(1, 0, 1.0, 1.0)
    ring.append(FrameKind.SUMMARY, 1, 0, 1.0, b"p")
    assert len(calls) == 1
    ring.append(FrameKind.SUMMARY, 1, 0, 1.0, b"p")
    assert len(calls) == 2
    ring.notify_backlog(3, notify)
    ring.append_scalars(targets(1, 1), 0, 1.0, np.zeros(2))
    assert len(calls) == 2
    ring.append_scalars(targets(1, 1), 0, 1.0, np.zeros(2))
    assert len(calls) == 3
    ring.notify_backlog(0, None)
    ring.append_scalar(1, 0, 1.0, 1.0)
    assert len(calls) == 3


@pytest.mark.parametrize("size_bytes", [0, 47, 95])
def test_a_buffer_too_small_for_two_frames_is_refused(size_bytes: int) -> None:
    with pytest.raises(ValueError, match="96 writable bytes"):
        make_ring(size_bytes)


def test_threads_that_append_get_numbers_of_their_own_and_lose_nothing() -> None:
    ring = make_ring(1 << 20)
    each = 2000

    def append(series: int) -> None:
        for step in range(each):
            if step % 10:
                assert ring.append_scalar(series, step, 1.0, float(step))
            else:
                assert ring.append(FrameKind.SUMMARY, series, step, 1.0, b"p" * series)

    threads = [threading.Thread(target=append, args=(series,)) for series in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    frames = read_all(ring)
    assert [frame.sequence for frame in frames] == list(range(1, 4 * each + 1))
    for series in range(4):
        steps = [frame.step for frame in frames if frame.target == series]
        assert steps == list(range(each))


def test_a_signal_handler_that_logs_neither_hangs_nor_tears_a_frame() -> None:
    ring = make_ring(1 << 20)
    handled: list[int] = []
    many, values = targets(*[1] * 300), np.full(300, 1.0)

    def handler(*_: object) -> None:
        handled.append(ring.append_scalar(2, 0, 1.0, 2.0))
        handled.append(ring.append(FrameKind.SUMMARY, 2, 0, 1.0, b"from the handler"))

    previous = signal.signal(signal.SIGPROF, handler)
    try:
        signal.setitimer(signal.ITIMER_PROF, 0.0005, 0.0005)
        appended = 0
        while len(handled) < 100:
            appended += 1
            if appended % 3 == 1:
                assert ring.append_scalar(1, appended, 1.0, 1.0)
            elif appended % 3 == 2:
                # It goes on in the next lap every few times.
                assert ring.append_scalars(many, appended, 1.0, values)
                appended += len(many) - 1
            else:
                assert ring.append(FrameKind.SUMMARY, 1, appended, 1.0, b"p")
            if ring.used_bytes > 1 << 19:
                for frame in read_all(ring, ring.freed_sequence):
                    assert frame.target in (1, 2)
                ring.free(ring.last_sequence)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
    accepted = sum(1 for sequence in handled if sequence)
    assert ring.last_sequence == appended + accepted


class RingMachine(RuleBasedStateMachine):
    """The ring against a list of the frames it should hold."""

    def __init__(self) -> None:
        super().__init__()
        self.ring = make_ring(2048, reserve_bytes=200)
        self.frames: list[framing.Frame] = []  # from the first that is not freed
        self.pending: list[int] = []

    def _add(self, sequence: int, make: Callable[[int], framing.Frame]) -> None:
        if sequence:
            assert sequence == self.ring.last_sequence
            self.frames.append(make(sequence))

    @rule(step=st.integers(-(1 << 63), (1 << 63) - 1), value=st.floats(allow_nan=False))
    def scalar(self, step: int, value: float) -> None:
        free_bytes = self.ring.size_bytes - self.ring.used_bytes
        sequence = self.ring.append_scalar(1, step, 1.5, value)
        assert sequence or free_bytes < 2 * HEADER_BYTES
        self._add(sequence, lambda n: framing.Frame(1, 0, n, step, 1.5, 1, value, b""))

    @rule(count=st.integers(1, 30))
    def scalars(self, count: int) -> None:
        for step in range(count):
            self.scalar(step, 1.0)

    @rule(count=st.integers(1, 21), step=st.integers(-(1 << 63), (1 << 63) - 1))
    def together(self, count: int, step: int) -> None:
        free_bytes = self.ring.size_bytes - self.ring.used_bytes
        before = self.ring.last_sequence
        series, values = range(1, count + 1), np.arange(float(count))
        sequence = self.ring.append_scalars(targets(*series), step, 1.5, values)
        if not sequence:
            assert free_bytes < (count + 1) * HEADER_BYTES
            assert self.ring.last_sequence == before
            return
        assert sequence == self.ring.last_sequence == before + count
        self.frames += [
            framing.Frame(1, 0, before + n, step, 1.5, n, float(n - 1), b"") for n in series
        ]

    @rule(payload=st.binary(max_size=400), pending=st.booleans())
    def summary(self, payload: bytes, pending: bool) -> None:
        sequence = self.ring.append(FrameKind.SUMMARY, 2, 0, 2.5, payload, claimed=pending)
        self._add(sequence, lambda n: framing.Frame(2, 0, n, 0, 2.5, 2, 0.0, payload))
        if sequence and pending:
            self.pending.append(sequence)

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def complete(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(self.pending))
        self.pending.remove(sequence)
        self.ring.commit(sequence)

    @precondition(lambda self: self.pending)
    @rule(data=st.data())
    def abort(self, data: st.DataObject) -> None:
        sequence = data.draw(st.sampled_from(self.pending))
        self.pending.remove(sequence)
        self.ring.abort(sequence, "")
        index = sequence - self.ring.freed_sequence - 1
        frame = self.frames[index]
        self.frames[index] = frame._replace(
            kind=FrameKind.ABORTED, payload=b" " * len(frame.payload)
        )

    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        first, last = self.ring.freed_sequence, self.ring.last_sequence
        through = data.draw(st.integers(first, last))
        self.ring.free(through)
        if self.pending:
            through = min(through, min(self.pending) - 1)
        assert self.ring.freed_sequence == through
        self.frames = self.frames[through - first :]

    @invariant()
    def holds_what_it_should(self) -> None:
        readable = self.frames
        if self.pending:
            readable = self.frames[: min(self.pending) - self.ring.freed_sequence - 1]
        assert read_all(self.ring, self.ring.freed_sequence) == readable
        assert read_all(self.ring, self.ring.freed_sequence, max_bytes=100) == readable
        used_bytes = sum(frame_bytes(len(frame.payload)) for frame in self.frames)
        # At most one padding is kept, and it is smaller than the frame behind it.
        assert used_bytes <= self.ring.used_bytes < used_bytes + frame_bytes(400)


RingMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRing = RingMachine.TestCase


def test_what_an_error_in_the_middle_of_an_error_left_is_aborted_later() -> None:
    ring = Ring(memoryview(bytearray(480)))
    for step in range(8):
        ring.append_scalar(1, step, 1.0, 0.5)
    ring.free(6)
    lost: list[int] = []

    def fail(sequence: int) -> None:
        lost.append(sequence)
        raise KeyboardInterrupt

    ring.on_lost = fail
    with pytest.raises(KeyboardInterrupt):  # four frames, over the buffer's end, and no values
        ring.append_scalars(np.ones(4, np.uint64), 0, 1.0, np.zeros(3).reshape(3, 1))
    ring.on_lost = lost.append
    ring.abort_unfinished()
    assert lost == [9, 10, 11, 12]
    ring.append_scalar(1, 0, 1.0, 0.5)
    kinds = []
    last = 6
    while last < 13:
        view, last = ring.read(last, 13, 1 << 20)
        kinds += [one.kind for one in framing.decode(view)]
    assert kinds == [FrameKind.SCALAR] * 2 + [FrameKind.ABORTED] * 4 + [FrameKind.SCALAR]
