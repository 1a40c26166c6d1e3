"""Slots of tensors: in the arena, and in maps of their own when it is full."""

from __future__ import annotations

from boardd_client.memory.arena import Arena
from boardd_client.memory.drop_reason import DropReason
from boardd_client.memory.maps import LargeTensors
from boardd_client.memory.slots import LEAST_OVERFLOW_BYTES, TensorSlots

MEBIBYTE = 1 << 20


def make_slots() -> TensorSlots:
    """Room for 1 MiB in the arena, and for 2 MiB in maps."""
    arena = Arena(memoryview(bytearray(MEBIBYTE)))
    return TensorSlots(arena, LargeTensors(2 * MEBIBYTE, is_shared=False), arena_offset=None)


def numbers(slots: TensorSlots, *sizes: int) -> list[int] | DropReason:
    """The maps in which a record's tensors lie, which are not freed; or why it is dropped."""
    found = slots.allocate(sizes, is_scalar=False)
    return found if isinstance(found, DropReason) else [slot.map_number for slot in found]


def test_nothing_is_dropped_before_both_budgets_are_spent() -> None:
    slots = make_slots()
    assert numbers(slots, MEBIBYTE) == [0]
    assert numbers(slots, MEBIBYTE // 2) == [1]
    assert numbers(slots, MEBIBYTE // 2, MEBIBYTE) == [2, 3]
    assert numbers(slots, MEBIBYTE // 2) is DropReason.ARENA_FULL


def test_the_arena_is_used_first_and_again_when_it_has_room() -> None:
    slots = make_slots()
    first = slots.allocate([MEBIBYTE], is_scalar=False)
    assert isinstance(first, tuple)
    assert numbers(slots, MEBIBYTE // 4) == [1]
    slots.free(first)
    assert numbers(slots, MEBIBYTE // 4, MEBIBYTE // 4) == [0, 0]


def test_a_record_that_finds_room_for_some_of_its_tensors_keeps_none() -> None:
    slots = make_slots()
    assert numbers(slots, MEBIBYTE, 2 * MEBIBYTE + 1) is DropReason.TENSOR_TOO_LARGE
    assert numbers(slots, MEBIBYTE) == [0]
    assert numbers(slots, MEBIBYTE, MEBIBYTE, MEBIBYTE) is DropReason.TENSOR_TOO_LARGE
    assert numbers(slots, MEBIBYTE) != DropReason.ARENA_FULL
    small = LEAST_OVERFLOW_BYTES - 1
    assert numbers(slots, MEBIBYTE // 2, small) is DropReason.ARENA_FULL
    found = numbers(slots, MEBIBYTE)
    assert not isinstance(found, DropReason)


def test_small_tensors_and_scalars_get_no_maps() -> None:
    slots = make_slots()
    assert numbers(slots, MEBIBYTE) == [0]
    assert numbers(slots, LEAST_OVERFLOW_BYTES - 1) is DropReason.ARENA_FULL
    assert slots.allocate([8], is_scalar=True) is DropReason.ARENA_FULL
    assert numbers(slots, LEAST_OVERFLOW_BYTES) == [1]


def test_without_a_budget_for_maps_a_full_arena_drops() -> None:
    arena = Arena(memoryview(bytearray(MEBIBYTE)))
    slots = TensorSlots(arena, LargeTensors(0, is_shared=False), arena_offset=None)
    assert numbers(slots, MEBIBYTE) == [0]
    assert numbers(slots, MEBIBYTE // 2) is DropReason.ARENA_FULL
