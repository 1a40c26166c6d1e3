"""Which groups are open is noted for the next daemon."""

from __future__ import annotations

from pathlib import Path

import pytest
from boardd.runs.groups.open_groups import OpenGroups


def test_a_note_is_read_by_the_next_daemon_and_goes_with_the_last_group(tmp_path: Path) -> None:
    path = tmp_path / "s.groups"
    noted = OpenGroups(path)
    assert noted.read() == []
    noted.note(["/b", "/a\udcff"])
    noted.write()
    assert path.stat().st_mode & 0o777 == 0o600
    later = OpenGroups(path)
    assert later.read() == ["/a\udcff", "/b"]
    later.note([])
    later.write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b"[" * 100_000])
def test_a_file_that_is_no_note_is_passed_over(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "s.groups"
    path.write_bytes(content)
    assert OpenGroups(path).read() == []


def test_a_directory_in_the_way_is_told_and_does_no_harm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    noted = OpenGroups(tmp_path / "gone" / "s.groups")
    noted.note(["/a"])
    noted.write()
    assert "which groups are open is not noted" in caplog.text
