"""Maps: sealed, allocated before use, and private where there is nothing to share."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import resource
from collections.abc import Iterator

import numpy as np
import pytest
from boardd_client.memory.arena import Slot
from boardd_client.memory.maps import PAGE_BYTES, LargeTensors, Map, make_map, populate
from boardd_protos.shared import F_GET_SEALS, MAX_MAPS, SEALS

MEBIBYTE = 1 << 20


def held_bytes(made: Map) -> int:
    """The memory that a map takes."""
    return os.fstat(made.fd).st_blocks * 512


@contextlib.contextmanager
def no_more_descriptors() -> Iterator[None]:
    """Has every further ``open`` of this process fail."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_the_size_of_a_shared_map_is_sealed() -> None:
    made = Map(3 * PAGE_BYTES - 5, is_shared=True)
    assert made.size_bytes == len(made.view) == 3 * PAGE_BYTES
    assert fcntl.fcntl(made.fd, F_GET_SEALS) & SEALS == SEALS
    for size_bytes in (PAGE_BYTES, 4 * PAGE_BYTES):
        with pytest.raises(PermissionError):
            os.ftruncate(made.fd, size_bytes)
    made.close()


def test_a_map_takes_memory_when_it_is_allocated_and_not_before() -> None:
    made = Map(64 * MEBIBYTE, is_shared=True)
    assert held_bytes(made) == 0
    made.allocate(8 * MEBIBYTE, 2 * MEBIBYTE)
    assert held_bytes(made) == 2 * MEBIBYTE
    populate(made.view, 8 * MEBIBYTE, 2 * MEBIBYTE)
    populate(made.view, 8 * MEBIBYTE + 100, 5)
    assert held_bytes(made) == 2 * MEBIBYTE
    assert not np.frombuffer(made.view, np.uint8, 2 * MEBIBYTE, 8 * MEBIBYTE).any()
    made.close()


def test_the_memory_outlives_the_descriptor() -> None:
    made = Map(PAGE_BYTES, is_shared=True)
    made.view[0] = 7
    made.close()
    made.close()
    assert made.view[0] == 7


def test_a_private_map_has_no_descriptor_and_the_same_methods() -> None:
    made = Map(100, is_shared=False)
    made.allocate(0, 100)
    populate(made.view, 0, 100)
    made.view[99] = 1
    assert made.fd == -1
    made.close()


def test_where_no_memfd_can_be_had_the_map_is_private(caplog: pytest.LogCaptureFixture) -> None:
    with no_more_descriptors():
        made = make_map(PAGE_BYTES, PAGE_BYTES, is_shared=True)
    assert made.fd == -1
    assert len(made.view) == PAGE_BYTES
    assert "no memory can be shared" in caplog.text


class Told:
    """Large tensors of 8 MiB together, and what was told of their maps."""

    def __init__(self) -> None:
        self.large = LargeTensors(8 * MEBIBYTE, is_shared=True)
        self.made: list[int] = []
        self.closed: list[int] = []
        self.large.on_made = lambda number, made: self.made.append(number)
        self.large.on_closed = self.closed.append

    def allocate(self, size_bytes: int) -> Slot:
        """A slot; there must be one."""
        slot = self.large.allocate(size_bytes)
        assert slot is not None
        return slot


def test_a_large_tensor_has_a_map_of_its_own() -> None:
    told = Told()
    first, second = told.allocate(3 * MEBIBYTE - 1), told.allocate(MEBIBYTE)
    assert (first.map_number, second.map_number) == (1, 2) == tuple(told.made)
    assert (len(first.view), first.offset) == (3 * MEBIBYTE - 1, 0)
    assert held_bytes(told.large.maps[1]) == 3 * MEBIBYTE
    first.view[-1] = 5
    assert np.frombuffer(told.large.maps[1].view, np.uint8)[3 * MEBIBYTE - 2] == 5


def test_the_budget_of_large_tensors_holds() -> None:
    told = Told()
    assert not told.large.may_fit(8 * MEBIBYTE + 1)
    assert told.large.may_fit(8 * MEBIBYTE)
    slot = told.allocate(5 * MEBIBYTE)
    assert told.large.allocate(4 * MEBIBYTE) is None
    told.large.free(slot)
    # It does not suit the next tensor, and makes room for it.
    assert told.allocate(2 * MEBIBYTE).map_number == 2
    told.allocate(6 * MEBIBYTE)
    assert told.closed == [1]
    assert sorted(told.large.maps) == [2, 3]


def test_a_freed_map_serves_the_next_tensor_of_about_its_size() -> None:
    told = Told()
    told.large.free(told.allocate(4 * MEBIBYTE))
    assert told.allocate(3 * MEBIBYTE).map_number == 1
    assert told.made == [1]


def test_a_tensor_that_came_and_went_since_the_last_look_counts_as_use() -> None:
    told = Told()
    assert not told.large.was_in_use()
    slot = told.allocate(4 * MEBIBYTE)
    assert told.large.was_in_use()
    assert told.large.was_in_use()
    told.large.free(slot)
    assert not told.large.was_in_use()
    told.large.free(told.allocate(4 * MEBIBYTE))
    assert told.large.was_in_use()
    assert not told.large.was_in_use()


def test_what_is_free_is_given_back() -> None:
    told = Told()
    told.large.free(told.allocate(4 * MEBIBYTE))
    kept = told.allocate(3 * MEBIBYTE)
    other = told.allocate(2 * MEBIBYTE)
    told.large.free(other)
    told.large.trim()
    assert told.closed == [other.map_number]
    assert list(told.large.maps) == [kept.map_number]


def test_no_memory_for_a_large_tensor_is_no_room() -> None:
    told = Told()
    with no_more_descriptors():
        assert told.large.allocate(MEBIBYTE) is None
    assert "no memory for a tensor" in told.large.trouble
    assert told.large.allocate(MEBIBYTE) is not None


def test_there_are_no_more_large_tensors_than_a_daemon_takes_maps() -> None:
    large = LargeTensors(1 << 40, is_shared=False)
    slots = [large.allocate(PAGE_BYTES) for _ in range(MAX_MAPS - 1)]
    assert all(slots)
    assert large.allocate(PAGE_BYTES) is None
    assert slots[0] is not None
    large.free(slots[0])
    assert large.allocate(3 * PAGE_BYTES) is not None, "in place of one that is free"
    assert len(large.maps) == MAX_MAPS - 1


def test_nobody_else_can_write_to_a_shared_map_or_take_memory_out() -> None:
    made = Map(PAGE_BYTES, is_shared=True)
    made.allocate(0, PAGE_BYTES)
    with pytest.raises(PermissionError):
        mmap.mmap(made.fd, PAGE_BYTES)
    with pytest.raises(PermissionError):
        os.pwrite(made.fd, b"x", 0)
    libc = ctypes.CDLL(None, use_errno=True)
    punch = ctypes.c_int(3), ctypes.c_long(0), ctypes.c_long(PAGE_BYTES)
    assert libc.fallocate(ctypes.c_int(made.fd), *punch) == -1
    made.view[0] = 1
    mmap.mmap(made.fd, PAGE_BYTES, prot=mmap.PROT_READ).close()
    made.close()
