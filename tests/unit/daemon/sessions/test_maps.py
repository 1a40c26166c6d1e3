"""The maps of a session: which are taken, what counts, and when their memory goes."""

from __future__ import annotations

import fcntl
import os

import pytest
from boardd.core.refusals import RefusedError
from boardd.sessions.maps import MAX_MAPS, MapBudget, Maps
from boardd_protos.shared import F_ADD_SEALS, SEALS, SHARE, Handover
from support.shared_client import is_mapped, memory


def test_a_map_with_holes_is_refused() -> None:
    maps = Maps(MapBudget(1 << 40))
    fd = os.memfd_create("holes", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 1 << 20)
    os.posix_fallocate(fd, 0, (1 << 20) - 4096)
    fcntl.fcntl(fd, F_ADD_SEALS, SEALS)
    maps.share(Handover(bytes(16), SHARE, 0, 1 << 20, 0, 1024), fd)  # its arena grows with use
    with pytest.raises(RefusedError, match="1048576 bytes, and only 1044480 are allocated"):
        maps.share(Handover(bytes(16), SHARE, 1, 1 << 20), fd)
    os.posix_fallocate(fd, 0, 1 << 20)
    maps.share(Handover(bytes(16), SHARE, 1, 1 << 20), fd)
    os.close(fd)


def test_a_session_has_a_bounded_number_of_maps() -> None:
    maps = Maps(MapBudget(1 << 40))
    fd = memory(4096)
    maps.share(Handover(bytes(16), SHARE, 0, 4096, 0, 1024), fd)
    for number in range(1, MAX_MAPS):
        maps.share(Handover(bytes(16), SHARE, number, 4096), fd)
    with pytest.raises(RefusedError, match="at most 256"):
        maps.share(Handover(bytes(16), SHARE, MAX_MAPS, 4096), fd)
    maps.release(5)
    with pytest.raises(RefusedError, match="shared already"):
        maps.share(Handover(bytes(16), SHARE, 6, 4096), fd)
    os.close(fd)
    maps.clear()
    assert maps.size_bytes == 0
    assert not is_mapped()


def test_what_refers_to_a_released_map_keeps_it() -> None:
    maps = Maps(MapBudget(3 * 4096))
    fd = memory(4096)
    maps.share(Handover(bytes(16), SHARE, 0, 4096, 0, 1024), fd)
    maps.share(Handover(bytes(16), SHARE, 1, 4096), fd)
    os.pwrite(fd, b"precious", 0)
    views = maps.views
    maps.release(1)
    assert bytes(views[1][:8]) == b"precious"
    assert maps.size_bytes == 8192, "it still counts"
    del views
    assert maps.size_bytes == 4096
    os.close(fd)


def test_a_new_map_0_takes_the_place_of_all_maps() -> None:
    budget = MapBudget(3 * 4096)
    maps = Maps(budget)
    fd = memory(4096)
    for number, log_bytes in ((0, 1024), (1, 0)):
        maps.share(Handover(bytes(16), SHARE, number, 4096, 0, log_bytes), fd)
    assert (budget.held_bytes, maps.size_bytes) == (8192, 8192)
    os.pwrite(fd, b"ring", 2048)
    maps.share(Handover(bytes(16), SHARE, 0, 4096, 2048, 512), fd)
    assert list(maps.views) == [0]
    assert (budget.held_bytes, maps.size_bytes) == (4096, 4096)
    assert maps.ring is not None
    assert (len(maps.ring), bytes(maps.ring[:4])) == (512, b"ring")
    assert maps.ring.readonly
    os.close(fd)


@pytest.mark.parametrize("is_first", [False, True])
def test_a_map_that_is_refused_changes_nothing(is_first: bool) -> None:
    budget = MapBudget(2 * 4096)
    maps = Maps(budget)
    small, large = memory(4096), memory(3 * 4096)
    maps.share(Handover(bytes(16), SHARE, 0, 4096, 0, 1024), small)
    views, ring = maps.views, maps.ring
    number, log_bytes = (0, 1024) if is_first else (1, 0)
    with pytest.raises(RefusedError, match="past the budget of 8192"):
        maps.share(Handover(bytes(16), SHARE, number, 3 * 4096, 0, log_bytes), large)
    assert maps.views is views
    assert maps.ring is ring
    assert (budget.held_bytes, maps.size_bytes) == (4096, 4096)
    os.close(small)
    os.close(large)


def test_what_a_record_keeps_counts_for_all_sessions() -> None:
    budget = MapBudget(2 * 4096)
    one, another = Maps(budget), Maps(budget)
    fd = memory(4096)
    for number, log_bytes in ((0, 1024), (1, 0)):
        one.share(Handover(bytes(16), SHARE, number, 4096, 0, log_bytes), fd)
    views = one.views  # as a record does
    one.clear()
    assert (one.ring, dict(one.views)) == (None, {})
    with pytest.raises(RefusedError, match="of which 8192 are taken"):
        another.share(Handover(bytes(16), SHARE, 0, 4096, 0, 1024), fd)
    del views
    another.share(Handover(bytes(16), SHARE, 0, 4096, 0, 1024), fd)
    assert (budget.held_bytes, one.size_bytes, another.size_bytes) == (4096, 0, 4096)
    os.close(fd)
