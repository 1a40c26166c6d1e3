"""What is deployed beside Prometheus parses, and asks for metrics and labels that there are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boardd
import promql_parser
import pytest
import yaml
from boardd.metrics.families import families
from boardd.metrics.shown_runs import ShownRuns
from boardd_protos import boardd_pb2 as pb

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
