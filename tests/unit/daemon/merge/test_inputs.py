from __future__ import annotations

import errno
import os
from pathlib import Path, PurePath
from typing import Any

import pytest
from boardd.errors import ConfigError
from boardd.merge.inputs import find_inputs

NAME = "events.out.tfevents.1700000000.host"


def write(root: Path, *directories: str) -> Path:
    for directory in directories:
        path = root / directory
        path.mkdir(parents=True, exist_ok=True)
        (path / NAME).touch()
    return root


def found(*logdirs: Path) -> dict[str, dict[int, str]]:
    """Of each merged run, the directory of each rank, relative to the first logdir's parent."""
    base = logdirs[0].parent
    return {
        str(group.path / run): {
            rank: str(path.relative_to(base)) for rank, path in directories.items()
        }
        for group in find_inputs(logdirs)
        for run, directories in group.runs.items()
    }


def test_rank_directories_are_ranks_and_what_lies_beside_them_is_passed_over(
    tmp_path: Path,
) -> None:
    root = write(tmp_path / "l", ".", "min", "max", "rank_0", "rank_2", "rank_10", "other")
    assert found(root) == {".": {0: "l/rank_0", 2: "l/rank_2", 10: "l/rank_10"}}


def test_runs_and_their_sub_runs_are_matched_by_path(tmp_path: Path) -> None:
    root = write(
        tmp_path / "l", "a/rank_0", "a/rank_0/x/y", "a/rank_1/x/y", "b/c/rank_1", "b/c/rank_3"
    )
    assert found(root) == {
        "a": {0: "l/a/rank_0"},
        "a/x/y": {0: "l/a/rank_0/x/y", 1: "l/a/rank_1/x/y"},
        "b/c": {1: "l/b/c/rank_1", 3: "l/b/c/rank_3"},
    }


def test_directories_are_ranks_in_their_order(tmp_path: Path) -> None:
    second, first = write(tmp_path / "b", ".", "eval"), write(tmp_path / "a", ".")
    assert found(second, first) == {".": {0: "b", 1: "a"}, "eval": {0: "b/eval"}}


def test_ranks_of_several_hosts_are_one_group(tmp_path: Path) -> None:
    logdirs = [write(tmp_path / "h0", "r/rank_0"), write(tmp_path / "h1", "r/rank_1")]
    assert found(*logdirs) == {"r": {0: "h0/r/rank_0", 1: "h1/r/rank_1"}}


def test_hidden_directories_and_circles_are_passed_over(tmp_path: Path) -> None:
    root = write(tmp_path / "l", "rank_0", "rank_1", ".boardd-group/rank_5")
    (root / "rank_0" / "again").symlink_to(root / "rank_0")
    assert found(root) == {".": {0: "l/rank_0", 1: "l/rank_1"}}


def test_ranks_and_groups_come_in_order(tmp_path: Path) -> None:
    root = write(tmp_path / "l", "b/rank_11", "b/rank_9", "a/rank_0")
    groups = find_inputs([root])
    assert [group.path for group in groups] == [PurePath("a"), PurePath("b")]
    assert groups[1].ranks == [9, 11]


def test_a_directory_that_cannot_be_read_is_no_rank_less(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "rank_0", "rank_1")
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if str(path).endswith("rank_1"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)  # root may read all
    with pytest.raises(PermissionError, match="rank_1"):
        found(tmp_path)


@pytest.mark.parametrize(
    ("logdirs", "says"),
    [
        (["none"], "no such directory"),
        (["plain"], "one directory for each rank"),
        (["plain", "ranks"], "has no directory rank_<r>"),
        (["plain", "plain"], "overlap"),
        (["ranks", "ranks/rank_0"], "overlap"),
        (["ranks", "twin"], "both rank 0"),
        (["nested"], "unclear which rank"),
        (["extremes"], "place of the merged extremes"),
        (["empty"], "no event files"),
    ],
)
def test_what_is_ambiguous_is_refused_with_a_cure(
    tmp_path: Path, logdirs: list[str], says: str
) -> None:
    write(tmp_path / "plain", ".")
    write(tmp_path / "ranks", "rank_0", "rank_1")
    write(tmp_path / "twin", "rank_0")
    write(tmp_path / "nested", "rank_0/x/rank_1")
    write(tmp_path / "extremes", "rank_0", "rank_0/min")
    (tmp_path / "empty" / "rank_0").mkdir(parents=True)
    with pytest.raises(ConfigError, match=says):
        find_inputs([tmp_path / name for name in logdirs])
