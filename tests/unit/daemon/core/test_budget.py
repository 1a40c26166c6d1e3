"""Budgets, the intake's account, and tensors in chunks."""

from __future__ import annotations

from dataclasses import fields

import pytest
from boardd.core.budget import Budgets, Intake
from boardd.core.errors import RequestError
from boardd.core.intake.tensors import CHUNK_COST_BYTES, MAX_RECORDS, TensorAssembly
from boardd_protos.limits import MAX_TENSORS


@pytest.mark.parametrize("name", [field.name for field in fields(Budgets)])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_budgets_are_above_zero(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Budgets(**{name: value})


def test_intake_counts_and_refuses_to_release_what_is_not_held() -> None:
    intake = Intake(100)
    intake.charge(60)
    intake.release(20)
    assert intake.held_bytes == 40
    with pytest.raises(ValueError, match="41 bytes released, 40 held"):
        intake.release(41)


def test_past_the_budget_one_stream_in_a_tensor_goes_on() -> None:
    intake = Intake(100)
    assert intake.may_read("a", 1, None)
    intake.charge(100)
    assert not intake.may_read("a", 1, None)
    assert intake.may_read("b", 1, 1)
    assert not intake.may_read("c", 1, 1)
    assert intake.may_read("b", 1, 1)
    # Its tensor is complete: it waits for the others like everyone.
    assert not intake.may_read("b", 1, None)
    assert not intake.may_read("c", 1, 1)
    intake.leave("c")
    assert not intake.may_read("c", 1, 1)
    intake.leave("b")
    assert intake.may_read("c", 1, 1)
    assert not intake.may_read("b", 1, 1)
    intake.release(2)
    assert intake.may_read("d", 1, None)
    intake.charge(2)
    assert intake.may_read("b", 1, 1)


def test_half_a_tensor_past_the_budget_takes_no_room_from_others() -> None:
    intake = Intake(100)
    intake.charge(150)
    assert intake.may_read("silent", 150, 140)
    assert intake.may_read("other", 89, None)
    assert not intake.may_read("other", 90, None)
    # What is whole of it counts.
    assert not intake.may_read("silent", 150, None)
    assert not intake.may_read("other", 89, None)


def test_sessions_that_hold_all_they_may_leave_room_for_the_next() -> None:
    intake = Intake(1000)
    for number in range(9):
        held = 0
        while intake.may_read(number, held, None):
            intake.charge(1)
            held += 1
        assert held > 0, f"session {number} is not read at all"
    assert intake.held_bytes < 1000


@pytest.mark.parametrize(
    ("message_bytes", "most_bytes"), [(1 << 20, 256 << 20), (128 << 10, 1 << 24)]
)
def test_a_session_that_holds_nothing_is_read_beside_any_number_that_are_stuck(
    message_bytes: int, most_bytes: int
) -> None:
    """Messages are large: the last that are read overshoot the budget."""
    intake, sessions = Intake(512 << 20), 1000
    for number in range(sessions):
        held = 0
        while held < most_bytes and intake.may_read(number, held, None):
            intake.charge(message_bytes)
            held += message_bytes
        assert held > 0, f"session {number} is not read at all"
    assert intake.held_bytes <= intake.budget_bytes + sessions * message_bytes


def test_chunks_come_back_in_order() -> None:
    assembly = TensorAssembly(1000)
    assembly.add(5, 0, 0, b"ab")
    assembly.add(5, 0, 2, b"c")
    assembly.add(5, 1, 0, b"z")
    assembly.add(6, 0, 0, b"")
    assert len(assembly) == 2
    assert assembly.held_bytes == 4 + 4 * CHUNK_COST_BYTES
    chunks = assembly.take(5)
    assert chunks.tensors == {0: [b"ab", b"c"], 1: [b"z"]}
    assert chunks.held_bytes == 4 + 3 * CHUNK_COST_BYTES
    assert assembly.held_bytes == CHUNK_COST_BYTES
    assert assembly.take(5).tensors == {}
    assembly.forget_until(6)
    assert (len(assembly), assembly.held_bytes) == (0, 0)


@pytest.mark.parametrize("offset", [0, 1, 3, 2**40])
def test_a_chunk_begins_where_the_last_ended(offset: int) -> None:
    assembly = TensorAssembly(1000)
    assembly.add(1, 0, 0, b"ab")
    with pytest.raises(RequestError, match=f"offset {offset}, expected 2"):
        assembly.add(1, 0, offset, b"c")


def test_tensors_and_records_are_bounded() -> None:
    assembly = TensorAssembly(1 << 20)
    with pytest.raises(RequestError, match=f"tensor {MAX_TENSORS}"):
        assembly.add(1, MAX_TENSORS, 0, b"")
    for sequence in range(1, MAX_RECORDS + 1):
        assembly.add(sequence, 0, 0, b"")
    with pytest.raises(RequestError, match=str(MAX_RECORDS)):
        assembly.add(MAX_RECORDS + 1, 0, 0, b"")


@pytest.mark.parametrize("chunk_bytes", [1, 100, 4096, 1 << 20])
def test_a_tensor_that_is_too_large_keeps_no_bytes(chunk_bytes: int) -> None:
    limit = 1 << 16
    assembly = TensorAssembly(limit)
    peak = 0
    for offset in range(0, max(limit * 2, chunk_bytes * 2), chunk_bytes):
        assembly.add(1, 0, offset, b"x" * chunk_bytes)
        peak = max(peak, assembly.held_bytes)
    assert peak <= limit + limit // 16 + CHUNK_COST_BYTES
    assert assembly.held_bytes == 0
    chunks = assembly.take(1)
    assert chunks.too_large
    assert chunks.tensors == {}
    assembly.add(2, 0, 0, b"y" * limit)
    assert assembly.take(2).tensors == {0: [b"y" * limit]}
