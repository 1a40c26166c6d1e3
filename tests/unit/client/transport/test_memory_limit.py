"""The memory that control groups allow."""

from __future__ import annotations

from pathlib import Path

import pytest
from boardd_client.transport.memory_limit import memory_limit_bytes


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/a/b\n", {"a/memory.max": "300", "a/b/memory.max": "max"}, 300),
        ("0::/a/b\n", {"a/memory.max": "300", "a/b/memory.max": "200"}, 200),
        ("0::/\n", {"memory.max": "100"}, 100),
        ("0::/a\n", {"a/memory.max": "max"}, None),
        ("5:cpu,memory:/a\n", {"memory/a/memory.limit_in_bytes": "70"}, 70),
        ("5:memory:/a\n", {"memory/a/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("5:cpu:/a\n", {"memory/a/memory.limit_in_bytes": "70"}, None),
        ("", {}, None),
    ],
)
def test_the_least_limit_counts(
    membership: str, files: dict[str, str], limit: int | None, tmp_path: Path
) -> None:
    (tmp_path / "self").write_text(membership)
    for name, text in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert memory_limit_bytes(tmp_path / "root", tmp_path / "self") == limit


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert memory_limit_bytes(tmp_path, tmp_path / "none") is None
