"""What is deployed beside Prometheus parses, and asks for metrics and labels that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import boardd
import promql_parser
import pytest
import yaml
from boardd.metrics.families import families
from boardd.metrics.shown_runs import ShownRuns
from boardd_protos import boardd_pb2 as pb
from support.promql import Labels, evaluate

DEPLOY = Path(boardd.__file__).parents[2] / "deploy"
#: Those that Prometheus and PromQL add.
OWN_LABELS = {"job", "instance", "le"}


def labels_by_metric() -> dict[str, set[str]]:
    """The labels of every metric, by the name of its samples."""
    everything = pb.StatusReply(
        counters=pb.Counters(
            rejected=[pb.RejectCount(reason=pb.TOO_MANY_SERIES, records=1)],
            dropped_by_client=[pb.DropCount(reason="x", records=1)],
        ),
        budgets=[pb.BudgetStatus(name="x", held=1, limit=1)],
        durations=[pb.DurationStatus(name="x", upper_secs=[1], counts=[1, 1])],
        runs=[pb.RunStatus(path="/x", group=pb.GroupStatus())],
        stores=[pb.StoreStatus(url="x")],
    )
    return {
        sample.name: set(sample.labels)
        for family in families(everything, ShownRuns())
        for sample in family.samples
    }


def board() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DEPLOY / "grafana.json").read_text())
    return found


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def expressions() -> Iterator[tuple[str, str]]:
    """Each expression, with what is shown of its labels."""
    for rule in alerts():
        yield rule["expr"], " ".join(rule["annotations"].values())
    for panel in board()["panels"]:
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]


@pytest.mark.parametrize(("expression", "shown"), list(expressions()))
def test_an_expression_names_what_there_is(expression: str, shown: str) -> None:
    known = labels_by_metric()
    named = re.findall(r"\b(?:boardd_\w+|up)\b", expression)
    assert named
    assert set(named) <= {*known, "up"}
    labels = set.union(*(known.get(name, set()) for name in named)) | OWN_LABELS
    used = re.findall(r"(\w+)\s*(?:=~|!=|!~|=)\s*\"", expression)
    used += re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression)))
    used += re.findall(r"{{\s*(?:\$labels\.)?(\w+)\s*}}", shown)
    assert set(used) <= labels
    promql_parser.parse(expression.replace("$__rate_interval", "5m"))


#: What a scrape finds: the counter of each reason, and when the daemon was started; None: nothing.
Scrape = tuple[dict[str, float], float] | None
SCRAPE_SECS = 15.0


def fires(alert: str, scrapes: Sequence[Scrape]) -> list[int]:
    """The scrapes at which an alert fires, by their number."""
    (rule,) = (rule for rule in alerts() if rule["alert"] == alert)
    (metric,) = {*re.findall(r"boardd_records_\w+", rule["expr"])}
    place = ("instance", "vm:9654")
    series: dict[Labels, list[tuple[float, float | None]]] = {}
    found = []
    for number, scrape in enumerate(scrapes):
        at = number * SCRAPE_SECS
        counts, started = scrape or ({}, 0.0)
        now = {
            frozenset({("__name__", metric), place, ("reason", one)}): counts[one] for one in counts
        }
        if scrape is not None:
            now[frozenset({("__name__", "boardd_start_time_seconds"), place})] = started
        for labels in {*series, *now}:
            series.setdefault(labels, []).append((at, now.get(labels)))
        if evaluate(rule["expr"], series, at):
            found.append(number)
    return found


#: Scrapes in that time.
TEN_MINUTES, FIVE_MINUTES = 40, 20
OLD: Scrape = ({"log_full": 9.0}, -1e6)
COUNTERS = pytest.mark.parametrize("alert", ["BoarddRecordsDropped", "BoarddRecordsRejected"])


@COUNTERS
def test_what_was_lost_long_ago_is_quiet(alert: str) -> None:
    quiet: list[Scrape] = [OLD] * 2 * TEN_MINUTES
    assert max(fires(alert, quiet)) <= TEN_MINUTES + 1  # as Prometheus itself is new
    # Nor is it told again when nothing could be scraped for a while.
    away: list[Scrape] = [None] * 2 * FIVE_MINUTES
    again = fires(alert, [*quiet, *away, *quiet])
    assert [number for number in again if number >= 2 * TEN_MINUTES] == []


@COUNTERS
@pytest.mark.parametrize(
    "counts",
    [{"log_full": 10.0}, {"log_full": 9.0, "arena_full": 1.0}],
    ids=["one more", "another reason"],
)
def test_a_record_that_is_lost_is_told_for_ten_minutes(
    alert: str, counts: dict[str, float]
) -> None:
    before: list[Scrape] = [OLD] * 2 * TEN_MINUTES
    after: list[Scrape] = [(counts, -1e6)] * 2 * TEN_MINUTES
    found = [one - len(before) for one in fires(alert, [*before, *after]) if one >= len(before)]
    assert found[0] == 0
    assert found == list(range(len(found)))
    assert abs(len(found) - TEN_MINUTES) <= 1


@COUNTERS
@pytest.mark.parametrize("away", [1, FIVE_MINUTES, 3 * TEN_MINUTES])
@pytest.mark.parametrize("lost", [1.0, 9.0, 20.0])
def test_what_is_lost_as_the_daemon_is_started_anew_is_told(
    alert: str, away: int, lost: float
) -> None:
    before: list[Scrape] = [OLD] * 2 * TEN_MINUTES + [None] * away
    started = len(before) * SCRAPE_SECS - 1.0
    for counts in ({"log_full": lost}, {"log_full": 0.0, "arena_full": lost}):
        after: list[Scrape] = [({}, started), *[(counts, started)] * 5]
        assert fires(alert, [*before, *after])[-5:] == [len(before) + 1 + n for n in range(5)]
    # Nothing is told of a start after which nothing was lost.
    quiet: list[Scrape] = [({}, started)] * 5
    assert max(fires(alert, [*before, *quiet])) < len(before)


def test_prometheus_reads_the_alerts_and_the_port_of_the_document() -> None:
    settings = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())
    assert settings["rule_files"] == ["alerts.yml"]
    document = (DEPLOY.parent / "docs" / "metrics.md").read_text()
    (job,) = settings["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert f"boardd --metrics {target}\n" in document
    assert {rule["alert"] for rule in alerts()} == set(re.findall(r"`(Boardd\w+)`", document))
    assert f'up{{job="{job["job_name"]}"}}' in alerts()[0]["expr"]


def test_panels_do_not_overlap() -> None:
    panels = board()["panels"]
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len({panel["id"] for panel in panels}) == len(panels)
