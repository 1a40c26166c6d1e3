from __future__ import annotations

import itertools
import threading

import pytest
from boardd_client.memory.arena import SLOT_ALIGNMENT, Arena, Slot
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule


def make_arena(size_bytes: int = 1024, reserve_bytes: int = 0) -> Arena:
    return Arena(memoryview(bytearray(size_bytes)), reserve_bytes=reserve_bytes)


def allocate(arena: Arena, size_bytes: int, *, reserved: bool = False) -> Slot:
    slot = arena.allocate(size_bytes, reserved=reserved)
    assert slot is not None
    return slot


def test_a_slot_is_an_aligned_part_of_the_buffer_of_exactly_its_size() -> None:
    buffer = bytearray(1024)
    arena = Arena(memoryview(buffer))
    first, second = allocate(arena, 10), allocate(arena, 100)
    assert (first.offset, len(first.view)) == (0, 10)
    assert (second.offset, len(second.view)) == (SLOT_ALIGNMENT, 100)
    second.view[:] = b"y" * 100
    assert buffer[64:164] == b"y" * 100
    assert arena.used_bytes == 64 + 128


def test_slots_are_given_from_the_low_end_so_that_few_pages_are_touched() -> None:
    arena = make_arena()
    first, _ = allocate(arena, 64), allocate(arena, 64)
    arena.free(first)
    assert allocate(arena, 1).offset == 0


def test_freed_neighbours_join_in_every_order() -> None:
    for order in [(0, 1, 2), (2, 1, 0), (0, 2, 1), (1, 0, 2)]:
        arena = make_arena(192)
        slots = [allocate(arena, 64) for _ in range(3)]
        assert arena.allocate(1) is None
        for index in order:
            arena.free(slots[index])
        assert arena.free_blocks() == [(0, 192)]
        assert len(allocate(arena, 192).view) == 192


def test_the_reserve_is_kept_for_those_who_ask_for_it() -> None:
    arena = make_arena(1024, reserve_bytes=128)
    assert arena.may_fit([896])
    assert not arena.may_fit([832, 65])
    assert arena.allocate(897) is None
    allocate(arena, 896)
    assert arena.allocate(1) is None
    assert len(allocate(arena, 4, reserved=True).view) == 4


def test_an_empty_tensor_takes_nothing_even_in_a_full_arena() -> None:
    arena = make_arena(64)
    allocate(arena, 64)
    empty = allocate(arena, 0)
    assert len(empty.view) == 0
    arena.free(empty)
    assert arena.used_bytes == 64


def test_a_slot_is_freed_once() -> None:
    arena = make_arena()
    first, second = allocate(arena, 64), allocate(arena, 64)
    arena.free(first)
    with pytest.raises(ValueError, match="slot at 0, 64 bytes, is not allocated"):
        arena.free(first)
    arena.free(second)
    with pytest.raises(ValueError, match="is not allocated"):
        arena.free(second)


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        make_arena().allocate(-1)


def test_threads_never_share_a_byte() -> None:
    arena = make_arena(1 << 16)
    clashes: list[int] = []

    def use(mark: int) -> None:
        for turn in range(500):
            slot = arena.allocate(1 + (turn * 37 + mark) % 700)
            if slot is not None:
                slot.view[:] = bytes([mark]) * len(slot.view)
                if bytes(slot.view) != bytes([mark]) * len(slot.view):
                    clashes.append(mark)
                arena.free(slot)

    threads = [threading.Thread(target=use, args=(mark,)) for mark in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not clashes
    assert arena.free_blocks() == [(0, 1 << 16)]


class ArenaMachine(RuleBasedStateMachine):
    """The arena against a list of its slots."""

    SIZE_BYTES = 4096
    RESERVE_BYTES = 512

    def __init__(self) -> None:
        super().__init__()
        self.arena = make_arena(self.SIZE_BYTES, self.RESERVE_BYTES)
        self.slots: list[Slot] = []

    @rule(size_bytes=st.integers(1, 1500), reserved=st.booleans())
    def allocate(self, size_bytes: int, reserved: bool) -> None:
        blocks = self.arena.free_blocks()
        slot = self.arena.allocate(size_bytes, reserved=reserved)
        taken = -(-size_bytes // SLOT_ALIGNMENT) * SLOT_ALIGNMENT
        allowed = sum(length for _, length in blocks) - (0 if reserved else self.RESERVE_BYTES)
        assert (slot is not None) is (
            taken <= allowed and any(length >= taken for _, length in blocks)
        )
        if slot is not None:
            self.slots.append(slot)

    @precondition(lambda self: self.slots)
    @rule(data=st.data())
    def free(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.slots) - 1))
        self.arena.free(self.slots.pop(index))

    @invariant()
    def every_byte_belongs_to_one(self) -> None:
        owned = sorted(
            [
                (slot.offset, -(-len(slot.view) // SLOT_ALIGNMENT) * SLOT_ALIGNMENT)
                for slot in self.slots
            ]
            + self.arena.free_blocks()
        )
        end = 0
        for start, length in owned:
            assert start == end
            assert start % SLOT_ALIGNMENT == 0
            end = start + length
        assert end == self.SIZE_BYTES
        blocks = self.arena.free_blocks()
        assert self.arena.used_bytes == self.SIZE_BYTES - sum(length for _, length in blocks)
        # Neighbours are joined.
        assert all(a + n < b for (a, n), (b, _) in itertools.pairwise(blocks))


ArenaMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestArena = ArenaMachine.TestCase
