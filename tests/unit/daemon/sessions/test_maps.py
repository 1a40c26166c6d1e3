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


def test_so_many_maps_and_no_more() -> None:
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
