"""The maps of a session: which are taken, what counts, and when their memory goes."""

from __future__ import annotations

import fcntl
import mmap
import os

import pytest
from boardd.core.errors import RequestError
from boardd.core.refusals import RefusedError
from boardd.sessions.client_log import ClientLog
from boardd.sessions.maps import MapBudget, Maps
from boardd_protos.shared import F_ADD_SEALS, MAX_MAPS, SHARE, Handover
from support.descriptors import descriptors_left
from support.shared_client import ALL_SEALS, is_mapped, log_file, log_of, memory

PAGE = mmap.PAGESIZE


def a_log() -> ClientLog:
    fd = log_file(log_of(bytes(16)))
    try:
        return ClientLog(fd)
    finally:
        os.close(fd)


def share_first(maps: Maps, fd: int, size_bytes: int = 4096) -> None:
    maps.share_first(Handover(bytes(16), SHARE, 0, size_bytes), fd, a_log())


def test_a_map_with_holes_is_refused() -> None:
    maps = Maps(MapBudget(1 << 40))
    fd = os.memfd_create("holes", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 1 << 20)
    os.posix_fallocate(fd, 0, (1 << 20) - 4096)
    fcntl.fcntl(fd, F_ADD_SEALS, ALL_SEALS)
    share_first(maps, fd, 1 << 20)  # its arena grows with use
    with pytest.raises(RefusedError, match="1048576 bytes, and only 1044480 are allocated"):
        maps.share(Handover(bytes(16), SHARE, 1, 1 << 20), fd)
    os.posix_fallocate(fd, 0, 1 << 20)
    maps.share(Handover(bytes(16), SHARE, 1, 1 << 20), fd)
    os.close(fd)


def test_what_was_found_written_is_not_looked_at_again(monkeypatch: pytest.MonkeyPatch) -> None:
    maps = Maps(MapBudget(1 << 40))
    fd = os.memfd_create("grows", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 16 * PAGE)
    written = memoryview(mmap.mmap(fd, 16 * PAGE))
    fcntl.fcntl(fd, F_ADD_SEALS, ALL_SEALS)
    share_first(maps, fd, 16 * PAGE)
    looked: list[int] = []
    seek = os.lseek

    def seen(descriptor: int, position: int, whence: int) -> int:
        looked.append(position)
        return seek(descriptor, position, whence)

    monkeypatch.setattr(os, "lseek", seen)
    views = maps.views
    for count in (4, 8):
        written[(count - 4) * PAGE : count * PAGE] = bytes([1]) * (4 * PAGE)
        assert [views.has_hole(0, 0, pages * PAGE) for pages in range(1, count + 1)] == (
            [False] * count
        )
        assert views.has_hole(0, 0, count * PAGE + 1)
    written[12 * PAGE : 14 * PAGE] = bytes([1]) * (2 * PAGE)
    assert not views.has_hole(0, 12 * PAGE, 14 * PAGE)
    assert views.has_hole(0, 0, 14 * PAGE)
    assert looked == [0, 4 * PAGE, 4 * PAGE, 8 * PAGE, 12 * PAGE, 0]
    os.close(fd)


def test_without_a_descriptor_what_was_shared_before_stays() -> None:
    maps = Maps(MapBudget(1 << 40))
    fd = memory(4096)
    share_first(maps, fd)
    before, views, log = maps.log, maps.views, a_log()
    with descriptors_left(1), pytest.raises(RefusedError, match="map 0 cannot be kept"):
        maps.share_first(Handover(bytes(16), SHARE, 0, 4096), fd, log)
    assert (maps.log, maps.views) == (before, views)
    log.close()
    os.close(fd)


def test_a_session_has_a_bounded_number_of_maps() -> None:
    maps = Maps(MapBudget(1 << 40))
    fd = memory(4096)
    share_first(maps, fd)
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
    fd = memory(4096, data=b"precious")
    share_first(maps, fd)
    maps.share(Handover(bytes(16), SHARE, 1, 4096), fd)
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
    share_first(maps, fd)
    maps.share(Handover(bytes(16), SHARE, 1, 4096), fd)
    assert (budget.held_bytes, maps.size_bytes) == (8192, 8192)
    before = maps.log
    share_first(maps, fd)
    assert list(maps.views) == [0]
    assert (budget.held_bytes, maps.size_bytes) == (4096, 4096)
    assert maps.log is not before
    assert before is not None
    with pytest.raises(RequestError, match="cannot be read"):
        before.read(0, 8)
    os.close(fd)


@pytest.mark.parametrize("is_first", [False, True])
def test_a_map_that_is_refused_changes_nothing(is_first: bool) -> None:
    budget = MapBudget(2 * 4096)
    maps = Maps(budget)
    small, large = memory(4096), memory(3 * 4096)
    share_first(maps, small)
    views, log = maps.views, maps.log
    handover = Handover(bytes(16), SHARE, int(not is_first), 3 * 4096)
    share = maps.share if not is_first else lambda it, fd: maps.share_first(it, fd, a_log())
    with pytest.raises(RefusedError, match="past the budget of 8192"):
        share(handover, large)
    assert maps.views is views
    assert maps.log is log
    assert (budget.held_bytes, maps.size_bytes) == (4096, 4096)
    os.close(small)
    os.close(large)


def test_what_a_record_keeps_counts_for_all_sessions() -> None:
    budget = MapBudget(4 * 4096)
    one, another = Maps(budget), Maps(budget)
    fd, large = memory(4096), memory(3 * 4096)
    share_first(one, fd)
    one.share(Handover(bytes(16), SHARE, 1, 4096), fd)
    views = one.views  # as a record does
    one.clear()
    assert (one.log, dict(one.views)) == (None, {})
    with pytest.raises(RefusedError, match="of which 8192 are taken"):
        share_first(another, large, 3 * 4096)
    del views
    share_first(another, large, 3 * 4096)
    assert (budget.held_bytes, one.size_bytes, another.size_bytes) == (12288, 0, 12288)
    os.close(fd)
    os.close(large)


def test_what_was_never_written_of_map_0_is_told_from_what_was() -> None:
    maps = Maps(MapBudget(1 << 40))
    fd = os.memfd_create("holes", os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, 1 << 20)
    os.pwrite(fd, bytes(8192), 4096)
    fcntl.fcntl(fd, F_ADD_SEALS, ALL_SEALS)
    before = os.fstat(fd).st_blocks
    share_first(maps, fd, 1 << 20)
    views = maps.views
    os.close(fd)
    maps.clear()
    assert not views.has_hole(0, 4096, 12288)
    assert not views.has_hole(0, 5000, 5001)
    assert views.has_hole(0, 4096, 12289)
    assert views.has_hole(0, 0, 8192)
    assert views.first is not None
    assert os.fstat(views.first.fd).st_blocks == before, "to look takes no memory"


def test_a_session_leaves_a_part_of_the_map_budget_to_others() -> None:
    budget = MapBudget(8 * 4096)
    greedy, next_one = Maps(budget), Maps(budget)
    fd = memory(4096)
    share_first(greedy, fd)
    for number in (1, 2, 3):
        greedy.share(Handover(bytes(16), SHARE, number, 4096), fd)
    with pytest.raises(RefusedError, match="or past this session's part"):
        greedy.share(Handover(bytes(16), SHARE, 4, 4096), fd)
    share_first(next_one, fd)
    next_one.share(Handover(bytes(16), SHARE, 1, 4096), fd)
    os.close(fd)
