"""What control groups allow."""

from __future__ import annotations

from pathlib import Path

import pytest
from boardd_protos.control_groups import memory_limit_bytes, processor_quota


def make_groups(path: Path, membership: str, files: dict[str, str]) -> None:
    (path / "self").write_text(membership)
    for name, text in files.items():
        file = path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


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
        ("of another system\n1:memory\n0::/a\n", {"a/memory.max": "300"}, 300),
    ],
)
def test_the_least_limit_counts(
    membership: str, files: dict[str, str], limit: int | None, tmp_path: Path
) -> None:
    make_groups(tmp_path, membership, files)
    assert memory_limit_bytes(tmp_path / "root", tmp_path / "self") == limit


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert memory_limit_bytes(tmp_path, tmp_path / "none") is None
    assert processor_quota(tmp_path, tmp_path / "none") is None


@pytest.mark.parametrize(
    ("membership", "files", "quota"),
    [
        ("0::/a/b\n", {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "25000 50000"}, 0.5),
        ("0::/a\n", {"a/cpu.max": "max 100000"}, None),
        ("0::/a\n", {"a/cpu.max": ""}, None),
        (
            "4:cpu,cpuacct:/a\n",
            {"cpu/a/cpu.cfs_quota_us": "-1", "cpu/a/cpu.cfs_period_us": "100000"},
            None,
        ),
        (
            "4:cpu,cpuacct:/host/of/container\n",
            {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"},
            2.0,
        ),
    ],
)
def test_the_least_quota_counts(
    membership: str, files: dict[str, str], quota: float | None, tmp_path: Path
) -> None:
    make_groups(tmp_path, membership, files)
    assert processor_quota(tmp_path / "root", tmp_path / "self") == quota
