"""The comparison's own arithmetic: what is planned, counted and divided."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from boardd.events.tfrecord import record

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture
def comparison(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))

    def module(name: str) -> ModuleType:
        return importlib.import_module(name)

    return module


def test_catalogue_names_workloads_that_have_titles(comparison: Any) -> None:
    workloads = comparison("comparison.workloads").WORKLOADS
    every = {(name, kind) for name, kinds in workloads.items() for kind in kinds}
    assert set(comparison("comparison.report").TITLES) == every
    for peer, entry in comparison("comparison.catalog").PEERS.items():
        taken = {(name, kind) for name, kinds in entry.takes.items() for kind in kinds}
        assert taken <= every, peer
        assert entry.slow <= set(entry.takes), peer


def test_rounds_alternate_and_slow_calls_are_made_in_the_first(comparison: Any) -> None:
    plan = comparison("peers").plan
    first = list(plan(["boardd", "wandb"], ["embeddings"], 0))
    second = list(plan(["boardd", "wandb"], ["scalar-sets", "embeddings"], 1))
    assert first == [
        ("embeddings", "numpy", "boardd"),
        ("embeddings", "numpy", "wandb"),
        ("embeddings", "mxnet", "boardd"),
    ]
    assert second == [
        ("scalar-sets", "python", "wandb"),
        ("scalar-sets", "python", "boardd"),
        ("embeddings", "numpy", "boardd"),
        ("embeddings", "mxnet", "boardd"),
    ]


def test_a_worker_that_fails_is_noted_once_and_the_round_goes_on(
    comparison: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers = comparison("peers")
    entry = comparison("comparison.catalog").Entry
    here = comparison("comparison.environments").Environment("none", ())
    monkeypatch.setattr(type(here), "python", sys.executable)
    monkeypatch.setattr(
        peers,
        "PEERS",
        {
            "missing": entry("no_such_peer", here, {"scalars": ("python",)}),
            "floor": entry("floor.Append", here, {"scalars": ("python",)}),
        },
    )
    failures: dict[str, str] = {}
    runs = list(peers.measure(["missing", "floor"], ["scalars"], 0, failures))
    assert [run["peer"] for run in runs] == ["floor"]
    assert runs[0]["back_to_back"]["calls"] == 20_000
    assert list(failures) == ["missing, scalars, python"]
    assert "no_such_peer" in failures["missing, scalars, python"]
    assert not list(peers.measure(["missing"], ["scalars"], 1, failures))


def test_ratio_compares_within_rounds(comparison: Any) -> None:
    ratio = comparison("comparison.report").ratio
    slow_later = [{"round": 0, "ns": 2.0}, {"round": 1, "ns": 20.0}]
    reference = [{"round": 0, "ns": 1.0}, {"round": 1, "ns": 10.0}, {"round": 2, "ns": 500.0}]
    assert ratio(slow_later, reference, lambda run: run["ns"]) == 2.0
    assert ratio(slow_later, [{"round": 5, "ns": 1.0}], lambda run: run["ns"]) is None


def test_events_are_counted_by_tag_without_a_torn_tail(comparison: Any, tmp_path: Path) -> None:
    count_events = comparison("comparison.event_files").count_events
    whole = record(b"..a/tag..")
    run = tmp_path / "run"
    run.mkdir()
    (tmp_path / "events.out.tfevents.1").write_bytes(whole + record(b"..b/tag..") + whole)
    (run / "events.out.tfevents.2").write_bytes(whole + whole[:-1])
    assert count_events(tmp_path, "a/tag") == 3


def test_embeddings_count_when_their_vectors_are_there(comparison: Any, tmp_path: Path) -> None:
    count_embeddings = comparison("comparison.event_files").count_embeddings
    config = 'embeddings {\n  tensor_path: "one/tensors.tsv"\n}\n'
    config += 'embeddings {\n  tensor_path: "two/tensors.tsv"\n}\n'
    (tmp_path / "projector_config.pbtxt").write_text(config)
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "tensors.tsv").write_text("1\t2\n")
    assert count_embeddings(tmp_path) == 1


SCRIPTS = ("peers", "training_steps", "throughput", "stopped_daemon", "freshness")


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_renews_its_own_table_and_no_other(
    comparison: Any, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = comparison("sustained.publish")
    before = publish.DOCUMENT.read_text()
    document = tmp_path / "README.md"
    document.write_text(before)
    monkeypatch.setattr(publish, "DOCUMENT", document)
    publish.renew(name, "| new |\n")
    begin, end = f"<!-- {name}.py: begin -->\n", f"\n<!-- {name}.py: end -->"
    head, _, rest = document.read_text().partition(begin)
    table, _, tail = rest.partition(end)
    assert table == "| new |"
    assert before.startswith(head + begin)
    assert before.endswith(end + tail)


def test_a_script_without_a_place_fails(comparison: Any) -> None:
    with pytest.raises(ValueError, match="nowhere"):
        comparison("sustained.publish").renew("nowhere", "")
