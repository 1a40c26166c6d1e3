from __future__ import annotations

import gc
import mmap
import os
from pathlib import Path

import pytest
from boardd_client.memory.pinning import PinnableMap


def make() -> PinnableMap:
    descriptor = os.memfd_create("boardd-test")
    os.ftruncate(descriptor, mmap.PAGESIZE)
    made = PinnableMap(descriptor, mmap.PAGESIZE)
    os.close(descriptor)
    return made


def mapped() -> int:
    """How many maps of this module's memory the process has."""
    return Path("/proc/self/maps").read_text().count("memfd:boardd-test")


def test_what_is_to_be_done_before_it_is_unmapped_is_done_before() -> None:
    seen: list[int] = []
    memory = make()
    memory.before_unmap.append(lambda: seen.append(mapped()))
    view = memoryview(memory).cast("B")[100:200]
    assert view.obj is memory
    del memory
    gc.collect()
    assert not seen
    view[0] = 7
    del view
    gc.collect()
    assert seen == [1]
    assert mapped() == 0


def test_close_does_it_too_and_only_once() -> None:
    seen: list[int] = []
    memory = make()
    memory.before_unmap += [lambda: seen.append(1), lambda: seen.append(2)]
    memory.close()
    memory.close()
    del memory
    gc.collect()
    assert sorted(seen) == [1, 2]


def test_what_cannot_be_mapped_is_an_error_and_nothing_else() -> None:
    with pytest.raises(OSError, match=r"Bad file descriptor|Invalid"):
        PinnableMap(1 << 20, mmap.PAGESIZE)
