"""Names made into tags and directories."""

from __future__ import annotations

import pytest
from boardd.core.refusals import RefusedError
from boardd.core.runs import names
from boardd_protos import boardd_pb2 as pb
from boardd_protos.merging import MAX_WORLD_SIZE


@pytest.mark.parametrize(
    ("tag", "cleaned"),
    [
        ("loss", "loss"),
        ("conv0/weight:0", "conv0/weight_0"),
        ("a b\tc", "a_b_c"),
        ("//train/loss", "train/loss"),
        ("épaisseur", "épaisseur"),
        ("100%", "100_"),
        ("x" * 1024, "x" * 1024),
    ],
)
def test_tags_are_cleaned_as_mxboard_does(tag: str, cleaned: str) -> None:
    assert names.shown_tag(tag) == cleaned


@pytest.mark.parametrize("tag", ["", "/", "///", "x" * 1025, "é" * 513])
def test_tags_that_cannot_be(tag: str) -> None:
    with pytest.raises(RefusedError) as caught:
        names.shown_tag(tag)
    assert caught.value.reason == pb.INVALID_NAME


@pytest.mark.parametrize(
    ("rank", "world_size", "path"),
    [
        (-1, 0, "/r"),
        (0, 1, "/r"),
        (0, 0, "/r"),
        (5, 0, "/r"),
        (0, 2, "/r/rank_0"),
        (11, 12, "/r/rank_11"),
        (-1, 2, "/r/worker_h_st_1_7"),
    ],
)
def test_one_directory_for_each_rank(rank: int, world_size: int, path: str) -> None:
    assert names.rank_path("/r", rank, world_size, "h/st.1".replace(".", "*"), 7) == path


@pytest.mark.parametrize(("rank", "world_size"), [(2, 2), (1, 1), (-2, 0), (-2, 4)])
def test_ranks_that_cannot_be(rank: int, world_size: int) -> None:
    with pytest.raises(RefusedError, match=f"rank {rank}"):
        names.rank_path("/r", rank, world_size, "h", 1)


def test_a_world_is_as_large_as_daemons_keep_account_of() -> None:
    last = MAX_WORLD_SIZE - 1
    assert names.rank_path("/r", last, MAX_WORLD_SIZE, "h", 1) == f"/r/rank_{last}"
    for rank in (-1, 0):
        with pytest.raises(RefusedError, match="a world of 1048577 ranks"):
            names.rank_path("/r", rank, MAX_WORLD_SIZE + 1, "h", 1)


@pytest.mark.parametrize("host", ["", "..", "../../etc", "h" * 300])
def test_a_host_cannot_leave_the_run(host: str) -> None:
    path = names.rank_path("/r", -1, 2, host, 7)
    assert path.startswith("/r/worker_")
    assert path.endswith("_7")
    assert path.count("/") == 2
    assert len(path) < 100


@pytest.mark.parametrize(
    ("name", "path"),
    [("", "/r"), ("a", "/r/a"), ("a//b/", "/r/a/b"), ("/a/./b", "/r/a/b"), ("a b", "/r/a b")],
)
def test_names_lie_beneath_the_logdir(name: str, path: str) -> None:
    assert names.run_path("/r", name) == path
    assert names.sub_run_path("/r", name) == path


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("..", pb.OUTSIDE_ROOTS),
        ("a/../../b", pb.OUTSIDE_ROOTS),
        ("/..", pb.OUTSIDE_ROOTS),
        ("a\0b", pb.INVALID_NAME),
        ("é" * 128, pb.INVALID_NAME),
        ("/".join(["x" * 200] * 20), pb.INVALID_NAME),
    ],
)
def test_names_that_cannot_be(name: str, reason: int) -> None:
    for make in (names.run_path, names.sub_run_path):
        with pytest.raises(RefusedError) as caught:
            make("/r", name)
        assert caught.value.reason == reason


def test_suffix_and_reduce() -> None:
    assert names.check_suffix(".mine") == ".mine"
    for suffix in ("a/b", "\0", "x" * 65):
        with pytest.raises(RefusedError):
            names.check_suffix(suffix)
    for reduce in ("", "mean", "sum", "min", "max", "last"):
        assert names.check_reduce(reduce) == reduce
    with pytest.raises(RefusedError, match="median") as caught:
        names.check_reduce("median")
    assert caught.value.reason == pb.UNSUPPORTED
