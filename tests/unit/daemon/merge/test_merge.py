from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from boardd.core.intake.columns import Columns
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import ScalarPart
from boardd.errors import CommandError, ConfigError
from boardd.events import event
from boardd.events.exact import ExactPartial, with_partial
from boardd.events.purge import purge
from boardd.events.scalars import encode_scalars
from boardd.events.values import scalar_value
from boardd.merge.merge import merge
from boardd.merge.merge_run import MergeOptions, OutOfOrderError
from boardd.merge.report import RunReport
from boardd.partials.codec import encode
from boardd.partials.histograms import histogram_of
from boardd.partials.partial import Partial
from boardd.reduce.histogram.bins import EqualWidth
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.event_file import EventFile
from boardd.runs.event_files.mark_writer import MarkWriter
from boardd.runs.writing.encode import encode_scalar_part
from boardd.summaries.summarize import present
from support.independent_reader import points
from support.tensorboard_reader import read_events, read_histograms, read_scalars

NAME = "events.out.tfevents.1700000000.host"
Scalar = tuple[str, int, float]


def write(directory: Path, scalars: Sequence[Scalar], name: str = NAME) -> Path:
    """Writes a file of single scalars, a second after each other, that names no writer."""
    data = b""
    for second, (tag, step, value) in enumerate(scalars):
        data += event.summary(1e9 + second, step, scalar_value(tag, value))
    return write_bytes(directory, data, name)


def write_bytes(directory: Path, data: bytes, name: str = NAME) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(data)
    return directory


def merged(
    tmp_path: Path, *logdirs: Path, options: MergeOptions | None = None
) -> tuple[Path, RunReport]:
    """Merges one run; returns its directory and report."""
    out = tmp_path / "out"
    (report,) = merge(logdirs, out, options or MergeOptions())
    return out, report


def two_ranks(tmp_path: Path) -> tuple[Path, Path]:
    first = write(tmp_path / "a", [("loss", step, step / 3) for step in range(5)])
    second = write(tmp_path / "b", [("loss", step, step / 7) for step in range(5)])
    return first, second


def single(value: float) -> float:
    return float(np.float32(value))


def test_scalars_are_the_mean_of_what_the_files_hold(tmp_path: Path) -> None:
    out, report = merged(tmp_path, *two_ranks(tmp_path))
    files = [(single(step / 3), single(step / 7)) for step in range(5)]
    assert points(out, "loss") == [
        (step, single(math.fsum(values) / 2)) for step, values in enumerate(files)
    ]
    assert points(out / "min", "loss") == [(step, min(one)) for step, one in enumerate(files)]
    assert points(out / "max", "loss") == [(step, max(one)) for step, one in enumerate(files)]
    assert (report.points, report.ranks[0].values, report.ranks[1].last_step) == (5, 5, 4)
    assert list(report.warnings()) == []


@pytest.mark.parametrize(
    ("reductions", "value"),
    [((), 3.0), ((("*", "sum"),), 6.0), ((("*", "sum"), ("lo*", "max")), 5.0)],
)
def test_what_is_shown_may_be_chosen_by_tag(
    tmp_path: Path, reductions: tuple[tuple[str, str], ...], value: float
) -> None:
    first = write(tmp_path / "a", [("loss", 1, 1.0)])
    second = write(tmp_path / "b", [("loss", 1, 5.0)])
    out, _ = merged(tmp_path, first, second, options=MergeOptions(reductions))
    assert points(out, "loss") == [(1, value)]


def test_unequal_steps_and_tags_are_coverage(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [("loss", 1, 1.0), ("loss", 3, 3.0), ("stage", 3, 1.0)])
    second = write(tmp_path / "b", [("loss", 2, 2.0), ("loss", 3, 5.0), ("loss", 9, 9.0)])
    out, report = merged(tmp_path, first, second)
    assert points(out, "loss") == [(1, 1.0), (2, 2.0), (3, 4.0), (9, 9.0)]
    assert points(out, "stage") == [(3, 1.0)]
    assert points(out, "boardd/group/coverage") == [(1, 1.0), (2, 1.0), (3, 2.0), (9, 1.0)]
    assert points(out / "min", "loss") == [(3, 3.0)]
    assert list(report.warnings()) == []


def write_copies(root: Path, rank: int, value: float, reduce: str) -> None:
    """Writes what a daemon does of one rank's own scalar, which ranks merge by ``reduce``."""
    run = RunState(str(root), str(root), "", 10)
    run.tag_index("loss", reduce)
    columns = Columns(np.ones(1, np.uint64), np.ones(1, int), np.ones(1), np.full(1, value))
    part = ScalarPart(*(b"s" * 16, run, None, 1, 1, 1), columns, np.zeros(1, np.intp), is_copy=True)
    encoded = encode_scalar_part(part)
    assert encoded.part is not None
    with Roots([root]).open_run(f"rank_{rank}") as directory:
        file = EventFile(directory, marks=MarkWriter(run.contents, lambda: 1e9))
        file.append(encoded.events, [encoded.part])
        file.close()


@pytest.mark.parametrize(("reduce", "value"), [("sum", 6.0), ("max", 5.0), ("", 3.0)])
def test_our_own_files_say_how_ranks_merge(tmp_path: Path, reduce: str, value: float) -> None:
    for rank, own in enumerate((1.0, 5.0)):
        write_copies(tmp_path / "l", rank, own, reduce)
    out, _ = merged(tmp_path, tmp_path / "l")
    assert points(out, "loss") == [(1, value)]


def test_what_the_user_says_counts_more(tmp_path: Path) -> None:
    for rank, own in enumerate((1.0, 5.0)):
        write_copies(tmp_path / "l", rank, own, "sum")
    out, _ = merged(tmp_path, tmp_path / "l", options=MergeOptions((("*", "min"),)))
    assert points(out, "loss") == [(1, 1.0)]


def test_exact_values_beside_the_rounded_ones_are_merged(tmp_path: Path) -> None:
    values = np.array([0.1, 1e300, 3.0])
    for rank in range(2):
        data = encode_scalars(
            np.ones(3),
            np.arange(3),
            values * (rank + 1),
            np.zeros(3, np.intp),
            [b"loss"],
            is_exact=True,
        )
        write_bytes(tmp_path / "l" / f"rank_{rank}", data)
    out, _ = merged(tmp_path, tmp_path / "l")
    mean = [math.fsum((value, 2 * value)) / 2 for value in values.tolist()]
    with np.errstate(over="ignore"):
        assert points(out, "loss") == [(step, single(value)) for step, value in enumerate(mean)]
    assert mean[1] > 1e300  # which float32 could not tell


def test_our_own_histograms_are_merged_from_their_partials(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = [
        Partial.of(rank, histogram_of(rng.normal(rank, 1, 1000), EqualWidth(30)))
        for rank in range(3)
    ]
    for rank, partial in enumerate(parts):
        shown = present("h", 4, 1e9 + rank, partial)
        data = with_partial(shown.event, ExactPartial(b"h", encode(partial)))
        write_bytes(tmp_path / "l" / f"rank_{rank}", data)
    out, report = merged(tmp_path, tmp_path / "l")
    expected = present("h", 4, 1e9 + 2, parts[0].merge(parts[1]).merge(parts[2]))
    write_bytes(tmp_path / "expected", expected.event)
    (found,) = read_histograms(out)["."]["h"]
    (wanted,) = read_histograms(tmp_path / "expected")["."]["h"]
    assert found.buckets.tolist() == wanted.buckets.tolist()
    assert found[:2] == wanted[:2]
    assert not report.approximate


def test_a_restart_without_a_word_starts_over_where_it_goes_on(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [("loss", step, 0.0) for step in range(6)])
    write(first, [("loss", step, 1.0) for step in range(3, 8)], NAME.replace("17", "18"))
    second = write(tmp_path / "b", [("loss", step, 1.0) for step in range(8)])
    out, report = merged(tmp_path, first, second)
    assert points(out, "loss") == [(step, 0.5 if step < 3 else 1.0) for step in range(8)]
    assert report.ranks[0].out_of_date == 3
    assert any("out of date" in line for line in report.warnings())


def test_a_purge_holds_for_all_tags_of_its_rank(tmp_path: Path) -> None:
    before = [("loss", step, 0.0) for step in range(6)] + [("other", 5, 0.0)]
    first = write(tmp_path / "a", before)
    data = b"".join(purge(1e9, 3, [b"loss", b"other"]))
    write_bytes(first, data, NAME.replace("17", "18"))
    second = write(tmp_path / "b", [("loss", step, 1.0) for step in range(6)])
    out, report = merged(tmp_path, first, second)
    assert points(out, "loss") == [(step, 0.5 if step < 3 else 1.0) for step in range(6)]
    assert points(out, "other") == []
    assert report.ranks[0].out_of_date == 4


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_torn_tail_ends_its_file(tmp_path: Path, cut: int) -> None:
    first, second = two_ranks(tmp_path)
    data = (first / NAME).read_bytes()
    (first / NAME).write_bytes(data[:-cut])
    out, report = merged(tmp_path, first, second)
    assert [step for step, _ in points(out, "loss")] == [0, 1, 2, 3, 4]
    assert points(out, "boardd/group/coverage")[-1] == (4, 1.0)
    assert report.ranks[0].values == 4
    assert report.ranks[0].torn_bytes > 0
    assert any("torn" in line for line in report.warnings())


def test_a_file_goes_on_behind_a_damaged_one(tmp_path: Path) -> None:
    first, second = two_ranks(tmp_path)
    data = bytearray((first / NAME).read_bytes())
    data[len(data) // 2] ^= 1
    (first / NAME).write_bytes(data)
    write(first, [("loss", 9, 9.0)], NAME.replace("17", "18"))
    out, _ = merged(tmp_path, first, second)
    assert points(out, "loss")[-1] == (9, 9.0)


def test_a_tag_is_what_it_is_at_the_lowest_rank(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [("x", 1, 1.0)])
    partial = Partial.of(1, histogram_of(np.arange(5.0), EqualWidth(3)))
    second = write_bytes(tmp_path / "b", present("x", 1, 1e9, partial).event)
    out, report = merged(tmp_path, first, second)
    assert points(out, "x") == [(1, 1.0)]
    assert report.ranks[1].other_kind == 1
    assert any("another kind" in line for line in report.warnings())


def test_inputs_are_only_read(tmp_path: Path) -> None:
    def state(root: Path) -> list[tuple[str, int, str]]:
        return [
            (
                str(path),
                path.stat().st_mtime_ns,
                hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
            )
            for path in sorted(root.rglob("*"))
        ]

    root = tmp_path / "l"
    for rank in range(3):
        write(root / f"rank_{rank}", [("loss", 1, 1.0)])
    write(root, [("merged", 1, 1.0)])
    before = state(root)
    merged(tmp_path, root)
    assert state(root) == before


def test_the_report_is_a_text_that_tensorboard_shows(tmp_path: Path) -> None:
    out, _ = merged(tmp_path, *two_ranks(tmp_path))
    texts = [
        value.tensor.string_val[0].decode()
        for one in read_events(out)
        for value in one.summary.value
        if value.tag == "boardd/merge"
    ]
    assert len(texts) == 1
    assert f"| 1 | {tmp_path / 'b'} | 5 | 4 |" in texts[0]


@pytest.mark.parametrize("where", ["a", "a/new", ".", "full"])
def test_an_output_that_would_touch_something_is_refused(tmp_path: Path, where: str) -> None:
    first, second = two_ranks(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "note").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match="--out"):
        merge([first, second], tmp_path / where, MergeOptions())
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_output_directory_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    out, _ = merged(tmp_path, *two_ranks(tmp_path))
    assert read_scalars(out)["."]["loss"]


def test_too_different_orders_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    tags = [("x", step) for step in range(40_000)], [("y", step) for step in range(40_000)]
    for rank, order in enumerate((tags, tags[::-1])):
        logged = [one for part in order for one in part]
        names = [tag.encode() for tag in ("x", "y")]
        data = encode_scalars(
            np.ones(len(logged)),
            np.array([step for _, step in logged]),
            np.ones(len(logged)),
            np.array([names.index(tag.encode()) for tag, _ in logged]),
            names,
        )
        write_bytes(tmp_path / "l" / f"rank_{rank}", data)
    with pytest.raises(OutOfOrderError, match="max-open-mib"):
        merged(tmp_path, tmp_path / "l", options=MergeOptions(max_open_bytes=1 << 20))
    assert [path.name for path in tmp_path.iterdir()] == ["l"]
    out, _ = merged(tmp_path, tmp_path / "l")
    assert len(points(out, "x")) == 40_000


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_after_an_interruption_nothing_is_left(
    tmp_path: Path, error: BaseException | type[BaseException]
) -> None:
    def interrupted(total_bytes: int) -> NoReturn:
        raise error

    first, second = two_ranks(tmp_path)
    with pytest.raises((KeyboardInterrupt, CommandError)):
        merge([first, second], tmp_path / "out", MergeOptions(), interrupted)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_one_rank_is_what_it_was(tmp_path: Path) -> None:
    write(tmp_path / "l" / "rank_0", [("loss", step, step / 3) for step in range(5)])
    out, _ = merged(tmp_path, tmp_path / "l")
    assert points(out, "loss") == [(step, single(step / 3)) for step in range(5)]
    assert not (out / "min").exists()


def test_an_interruption_as_the_directory_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "l" / "rank_0", [("x", 0, 1.0)])
    mkdir = Path.mkdir

    def interrupted(path: Path, *arguments: Any, **options: Any) -> None:
        mkdir(path, *arguments, **options)
        if "boardd-merge" in path.name:
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", interrupted)
    with pytest.raises(KeyboardInterrupt):
        merged(tmp_path, tmp_path / "l")
    assert [path.name for path in tmp_path.iterdir()] == ["l"]
