"""A status in Prometheus' format, read by its own parser."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import boardd
from boardd.metrics.families import families
from boardd.metrics.shown_runs import OTHERS, ShownRuns
from boardd_protos import boardd_pb2 as pb
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

DOCUMENT = Path(boardd.__file__).parents[2] / "docs" / "metrics.md"

Labels = tuple[tuple[str, str], ...]


class Fixed(Collector):
    def __init__(self, found: Sequence[Metric]) -> None:
        self._found = found

    def collect(self) -> Sequence[Metric]:
        return self._found


def samples(
    status: pb.StatusReply, shown: ShownRuns | None = None
) -> dict[str, dict[Labels, float]]:
    """Values by name and labels, as a scraper reads them."""
    registry = CollectorRegistry()
    registry.register(Fixed(list(families(status, shown or ShownRuns()))))
    found: dict[str, dict[Labels, float]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in found.setdefault(sample.name, {})
            found[sample.name][labels] = sample.value
    return found


def status(**fields: object) -> pb.StatusReply:
    return pb.StatusReply(version="1.2", started_at=5.0, rss_bytes=7, **fields)


def test_records_add_up_and_reasons_are_labels() -> None:
    counters = pb.Counters(
        accepted=10,
        written=6,
        pending=1,
        rejected=[pb.RejectCount(reason=pb.TOO_MANY_SERIES, records=3)],
        duplicates=2,
        written_bytes=100,
        dropped_by_client=[pb.DropCount(reason="arena full", records=4)],
    )
    found = samples(status(counters=counters))
    assert found["boardd_records_accepted_total"] == {(): 10}
    assert found["boardd_records_written_total"] == {(): 6}
    assert found["boardd_records_pending"] == {(): 1}
    assert found["boardd_records_rejected_total"] == {(("reason", "TOO_MANY_SERIES"),): 3}
    assert found["boardd_records_duplicate_total"] == {(): 2}
    assert found["boardd_written_bytes_total"] == {(): 100}
    assert found["boardd_records_dropped_by_clients_total"] == {(("reason", "arena full"),): 4}
    assert found["boardd_info"] == {(("version", "1.2"),): 1}


def test_sessions_and_budgets() -> None:
    sessions = [pb.SessionStatus(attached=True), pb.SessionStatus(), pb.SessionStatus()]
    budgets = [pb.BudgetStatus(name="max-runs", held=2, limit=9)]
    found = samples(status(sessions=sessions, budgets=budgets))
    assert found["boardd_sessions"] == {(("state", "attached"),): 1, (("state", "away"),): 2}
    assert found["boardd_budget_held"] == {(("budget", "max-runs"),): 2}
    assert found["boardd_budget_limit"] == {(("budget", "max-runs"),): 9}


def test_durations_are_a_cumulative_histogram() -> None:
    duration = pb.DurationStatus(name="write", sum_secs=12.5, upper_secs=[0.1, 1], counts=[3, 2, 1])
    found = samples(status(durations=[duration]))
    name = "boardd_work_duration_seconds"
    buckets = {dict(labels)["le"]: count for labels, count in found[f"{name}_bucket"].items()}
    assert buckets == {"0.1": 3, "1.0": 5, "+Inf": 6}
    assert found[f"{name}_count"] == {(("work", "write"),): 6}
    assert found[f"{name}_sum"] == {(("work", "write"),): 12.5}


def test_a_path_with_quotes_and_line_ends_is_one_label() -> None:
    path = '/a"b\\c\nd'
    found = samples(status(runs=[pb.RunStatus(path=path, pending=3, trouble="full")]))
    assert found["boardd_run_pending_records"] == {(("run", path),): 3}
    assert found["boardd_run_held_up"] == {(("run", path),): 1}
    assert "boardd_group_ranks" not in found


def test_a_run_has_what_it_lost() -> None:
    rejected = [pb.RejectCount(reason=reason, records=2) for reason in (pb.UNSUPPORTED, 1)]
    found = samples(status(runs=[pb.RunStatus(path="/r", dropped=3, rejected=rejected)]))
    label = (("run", "/r"),)
    assert found["boardd_run_dropped_records_total"] == {label: 3}
    assert found["boardd_run_rejected_records_total"] == {label: 4}


def test_a_group_has_its_own() -> None:
    group = pb.GroupStatus(ranks=8, step_lag=4, open_points=3, open_bytes=2, late=5)
    found = samples(status(runs=[pb.RunStatus(path="/g", group=group)]))
    label = (("run", "/g"),)
    assert found["boardd_group_ranks"] == {label: 8}
    assert found["boardd_group_late_contributions_total"] == {label: 5}


def test_runs_past_the_bound_are_added_up_and_the_shown_stay() -> None:
    def runs(*numbers: int) -> list[pb.RunStatus]:
        return [
            pb.RunStatus(path=f"/{number}", pending=number, written_bytes=number)
            for number in numbers
        ]

    def told(*numbers: int) -> tuple[dict[str, float], dict[str, float]]:
        found = samples(status(runs=runs(*numbers)), shown)
        pending, written = (
            {dict(labels)["run"]: value for labels, value in found[f"boardd_run_{name}"].items()}
            for name in ("pending_records", "written_bytes_total")
        )
        return pending, written

    shown = ShownRuns(max_runs=2)
    own = {"/1": 1.0, "/2": 2.0}
    assert told(1, 2, 3, 4) == ({**own, OTHERS: 7}, own), "a sum that may fall is no counter"
    assert told(4, 3, 2, 1) == ({**own, OTHERS: 7}, own)
    own = {"/2": 2.0, "/3": 3.0}
    assert told(2, 3, 4) == ({**own, OTHERS: 4}, own)


def test_the_document_lists_every_metric() -> None:
    group = pb.GroupStatus()
    everything = families(status(runs=[pb.RunStatus(path="/g", group=group)]), ShownRuns())
    names = set()
    for family in everything:
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        names.add(family.name + suffix)
    listed = set(re.findall(r"`(boardd_\w+)`", DOCUMENT.read_text()))
    assert names == listed


def test_a_store_is_a_label_and_says_what_it_lacks() -> None:
    store = pb.StoreStatus(
        url="s3://bucket",
        pending_files=2,
        pending_bytes=30,
        oldest_secs=4.5,
        shipped_files=6,
        shipped_bytes=70,
        failures=8,
    )
    found = samples(status(stores=[store]))
    values = {name: series for name, series in found.items() if name.startswith("boardd_store_")}
    labels = (("store", "s3://bucket"),)
    assert {name: series[labels] for name, series in values.items()} == {
        "boardd_store_pending_files": 2.0,
        "boardd_store_pending_bytes": 30.0,
        "boardd_store_oldest_pending_seconds": 4.5,
        "boardd_store_shipped_files_total": 6.0,
        "boardd_store_shipped_bytes_total": 70.0,
        "boardd_store_failures_total": 8.0,
    }
