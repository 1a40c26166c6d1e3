"""A status as metric families, whose names and labels docs/metrics.md lists.

Names follow Prometheus' conventions: base units, ``_total`` for what only grows
(https://prometheus.io/docs/practices/naming/).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from boardd_protos import boardd_pb2 as pb
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric

from boardd.metrics.shown_runs import OTHERS, ShownRuns


def families(status: pb.StatusReply, shown: ShownRuns) -> Iterator[Metric]:
    """Yields what ``status`` says.

    Gauges of runs that ``shown`` leaves out are added up as one; these have no counters.
    """
    yield InfoMetricFamily("boardd", "The daemon.", {"version": status.version})
    yield GaugeMetricFamily(
        "boardd_start_time_seconds", "When it started, since the epoch.", status.started_at
    )
    yield GaugeMetricFamily("boardd_resident_memory_bytes", "Its memory.", status.rss_bytes)
    yield from _records(status.counters)
    yield from _sessions(status.sessions)
    yield from _budgets(status.budgets)
    yield from _durations(status.durations)
    refused = sum(run.times for run in status.refused_runs)
    yield GaugeMetricFamily(
        "boardd_refused_runs", "Refusals of the runs that were refused last.", refused
    )
    yield from _stores(status.stores)
    yield from _runs(shown.labelled(status.runs))


def _records(counters: pb.Counters) -> Iterator[Metric]:
    for name, help_text, value in (
        ("accepted", "Records received.", counters.accepted),
        ("written", "Records whose events are in their files.", counters.written),
        ("duplicate", "Records that came again and were left out.", counters.duplicates),
    ):
        yield CounterMetricFamily(f"boardd_records_{name}", help_text, value)
    yield GaugeMetricFamily(
        "boardd_records_pending", "Records received and not yet written.", counters.pending
    )
    yield CounterMetricFamily(
        "boardd_written_bytes", "Bytes appended to event files.", counters.written_bytes
    )
    rejected = CounterMetricFamily(
        "boardd_records_rejected", "Records that were not written.", labels=["reason"]
    )
    for reject in counters.rejected:
        rejected.add_metric([pb.Reason.Name(reject.reason)], reject.records)
    yield rejected
    dropped = CounterMetricFamily(
        "boardd_records_dropped_by_clients",
        "Records that clients had no room for.",
        labels=["reason"],
    )
    for drop in counters.dropped_by_client:
        dropped.add_metric([drop.reason], drop.records)
    yield dropped


def _sessions(sessions: Iterable[pb.SessionStatus]) -> Iterator[Metric]:
    family = GaugeMetricFamily("boardd_sessions", "Sessions of clients.", labels=["state"])
    counts = {"attached": 0, "away": 0}
    for session in sessions:
        counts["attached" if session.attached else "away"] += 1
    for state, count in counts.items():
        family.add_metric([state], count)
    yield family


def _budgets(budgets: Iterable[pb.BudgetStatus]) -> Iterator[Metric]:
    held = GaugeMetricFamily(
        "boardd_budget_held", "What is held of a budget, in bytes or pieces.", labels=["budget"]
    )
    limit = GaugeMetricFamily("boardd_budget_limit", "The most of it.", labels=["budget"])
    for budget in budgets:
        held.add_metric([budget.name], budget.held)
        if budget.limit:
            limit.add_metric([budget.name], budget.limit)
    yield held
    yield limit


def _durations(durations: Iterable[pb.DurationStatus]) -> Iterator[Metric]:
    family = HistogramMetricFamily(
        "boardd_work_duration_seconds", "How long work took.", labels=["work"]
    )
    for duration in durations:
        total, buckets = 0, []
        bounds = [*map(str, duration.upper_secs), "+Inf"]
        for bound, count in zip(bounds, duration.counts, strict=True):
            total += count
            buckets.append((bound, float(total)))
        family.add_metric([duration.name], buckets, duration.sum_secs)
    yield family


#: Of each store: a metric's name, what it is, and its value.
_StoreValue = Callable[[pb.StoreStatus], float]
_STORE_GAUGES: Final[tuple[tuple[str, str, _StoreValue], ...]] = (
    ("pending_files", "Closed files that it has not confirmed.", lambda one: one.pending_files),
    ("pending_bytes", "What it has not confirmed.", lambda one: one.pending_bytes),
    ("oldest_pending_seconds", "How long that has waited.", lambda one: one.oldest_secs),
)
_STORE_COUNTERS: Final[tuple[tuple[str, str, _StoreValue], ...]] = (
    ("shipped_files", "Files that it has confirmed.", lambda one: one.shipped_files),
    ("shipped_bytes", "Bytes of these.", lambda one: one.shipped_bytes),
    ("failures", "Tries that failed.", lambda one: one.failures),
)


def _stores(stores: Iterable[pb.StoreStatus]) -> Iterator[Metric]:
    for kind, metrics in (
        (GaugeMetricFamily, _STORE_GAUGES),
        (CounterMetricFamily, _STORE_COUNTERS),
    ):
        for name, help_text, value in metrics:
            family = kind(f"boardd_store_{name}", help_text, labels=["store"])
            for one in stores:
                family.add_metric([one.url], value(one))
            yield family


#: Of each run: a metric's name, what it is, and its value.
_RunValue = Callable[[pb.RunStatus], float]
_RUN_GAUGES: Final[tuple[tuple[str, str, _RunValue], ...]] = (
    ("pending_records", "Records admitted and not yet written.", lambda run: run.pending),
    ("series", "Tags of the run.", lambda run: run.series),
    ("held_up", "Runs whose writing is held up.", lambda run: bool(run.trouble)),
)
_RUN_COUNTERS: Final[tuple[tuple[str, str, _RunValue], ...]] = (
    ("written_bytes", "Bytes appended to the run.", lambda run: run.written_bytes),
    (
        "dropped_records",
        "Records meant for it that clients dropped, or that other hosts rejected.",
        lambda run: run.dropped,
    ),
    (
        "rejected_records",
        "Records meant for it that were received and are not written.",
        lambda run: sum(count.records for count in run.rejected),
    ),
    ("steps_backwards", "Records below an earlier step.", lambda run: run.steps_backwards),
)
#: Of runs that several ranks log together.
_GROUP_GAUGES: Final[tuple[tuple[str, str, _RunValue], ...]] = (
    ("ranks", "Ranks that are there.", lambda run: run.group.ranks),
    ("step_lag", "Steps of the last rank behind the first.", lambda run: run.group.step_lag),
    ("open_points", "Points that wait for ranks.", lambda run: run.group.open_points),
    ("open_bytes", "Memory of these points.", lambda run: run.group.open_bytes),
    ("backlog_bytes", "What waits to be passed on.", lambda run: run.group.backlog_bytes),
)
_GROUP_COUNTERS: Final[tuple[tuple[str, str, _RunValue], ...]] = (
    ("late_contributions", "What came after its point was written.", lambda run: run.group.late),
)


def _runs(labelled: list[tuple[str, pb.RunStatus]]) -> Iterator[Metric]:
    groups = [(label, run) for label, run in labelled if run.HasField("group")]
    for prefix, gauges, counters, runs in (
        ("boardd_run", _RUN_GAUGES, _RUN_COUNTERS, labelled),
        ("boardd_group", _GROUP_GAUGES, _GROUP_COUNTERS, groups),
    ):
        for name, help_text, value in gauges:
            gauge = GaugeMetricFamily(f"{prefix}_{name}", help_text, labels=["run"])
            for label, total in _by_label(runs, value).items():
                gauge.add_metric([label], total)
            yield gauge
        for name, help_text, value in counters:
            counter = CounterMetricFamily(f"{prefix}_{name}", help_text, labels=["run"])
            for label, run in runs:
                # A sum over runs that come and go falls, which a counter must not.
                if label != OTHERS:
                    counter.add_metric([label], value(run))
            yield counter


def _by_label(runs: Iterable[tuple[str, pb.RunStatus]], value: _RunValue) -> dict[str, float]:
    totals: dict[str, float] = {}
    for label, run in runs:
        totals[label] = totals.get(label, 0) + value(run)
    return totals
