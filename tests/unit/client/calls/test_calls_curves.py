"""What the calls for hyperparameters, metrics and charts send."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest
from boardd_client import SummaryWriter
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameKind
from support.scripted_daemon import ScriptedDaemon
from support.sent_records import send

pytestmark = pytest.mark.usefixtures("no_autostart")


def test_hyperparameters_and_metrics_go_to_a_sub_run(scripted: ScriptedDaemon) -> None:
    def log(sw: SummaryWriter) -> None:
        sw.add_hparams(
            {"lr": np.float32(0.5), "n": 3, "b": True, "o": "sgd", "f": np.mean, "none": None},
            {"hparam/loss": 0.25, "accuracy": np.ones(1)},
            name="trial/1",
            global_step=4,
            domains={"o": ["sgd", "adam"]},
        )

    (sent,) = send(scripted, log)
    expected = pb.HParams(
        hparams={
            "lr": pb.HParamValue(number=0.5),
            "n": pb.HParamValue(number=3),
            "b": pb.HParamValue(flag=True),
            "o": pb.HParamValue(text="sgd"),
            "f": pb.HParamValue(text="mean"),
        },
        names=["lr", "n", "b", "o", "f"],
        metrics=["hparam/loss", "accuracy"],
        domains=[
            pb.HParamDomain(
                hparam="o", values=[pb.HParamValue(text="sgd"), pb.HParamValue(text="adam")]
            )
        ],
    )
    assert sent.payload.hparams == expected
    assert sent.sub_run == "trial/1"
    series = {s.series: s for message in scripted.definitions for s in message.series}
    scalars = [frame for frame in scripted.all_frames if frame.kind == FrameKind.SCALAR]
    assert [
        (series[frame.target].sub_run, series[frame.target].tag, frame.step, frame.value)
        for frame in scalars
    ] == [("trial/1", "hparam/loss", 4, 0.25), ("trial/1", "accuracy", 4, 1.0)]


def test_hyperparameters_without_a_name_go_to_the_time(scripted: ScriptedDaemon) -> None:
    before = time.time()
    (sent,) = send(scripted, lambda sw: sw.add_hparams({"lr": 1}, {}))
    assert before <= float(sent.sub_run) <= time.time()


def test_all_ranks_with_the_same_hyperparameters_share_a_sub_run(
    scripted: ScriptedDaemon,
) -> None:
    def log(*hparams: dict[str, float]) -> None:
        for rank, values in enumerate(hparams):
            with SummaryWriter("/logs", address=scripted.address, rank=rank, world_size=2) as sw:
                sw.add_hparams(values, {})

    log({"lr": 0.5, "n": 3}, {"n": 3, "lr": 0.5})
    log({"lr": 0.5, "n": 4})
    series = {s.sub_run for message in scripted.definitions for s in message.series}
    assert len(series) == 2
    assert all(name.startswith("hparams_") for name in series)


def test_what_refers_to_tags_names_them_as_they_are_written(scripted: ScriptedDaemon) -> None:
    def log(sw: SummaryWriter) -> None:
        sw.add_hparams({}, {"/top 1": 2.0}, name="trial")
        sw.add_custom_scalars_marginchart(["mean (all)", "low", "/high"])
        sw.add_custom_scalars_multilinechart(["loss (a|b)"])

    hparams, margin, multiline = send(scripted, log)
    assert list(hparams.payload.hparams.metrics) == ["top_1"]
    charts = [
        record.payload.custom_scalars.categories[0].charts[0] for record in (margin, multiline)
    ]
    assert [list(chart.tags) for chart in charts] == [
        ["mean__all_", "low", "high"],
        ["loss (a|b)"],
    ]


def test_a_metric_is_the_same_series_as_a_named_curve(scripted: ScriptedDaemon) -> None:
    def log(sw: SummaryWriter) -> None:
        sw.add_scalar("loss", {"a": 1.0}, 1)
        sw.add_hparams({}, {"loss": 2.0}, name="loss/a")

    send(scripted, log)
    series = [s for message in scripted.definitions for s in message.series]
    assert [(s.tag, s.sub_run) for s in series if s.tag == "loss"] == [("loss", "loss/a")]
    assert scripted.values() == [1.0, 2.0]


def test_metrics_and_curves_are_exported(scripted: ScriptedDaemon, tmp_path: Any) -> None:
    with SummaryWriter("/logs", address=scripted.address) as sw:
        sw.add_hparams({}, {"loss": 2.0}, name="trial", global_step=3)
        sw.add_scalars("plot", {"sin": 1.0, "cos": 2.0}, 4)
        sw.export_scalars(tmp_path / "scalars.json")
    exported = json.loads((tmp_path / "scalars.json").read_text())
    rows = {name: [row[1:] for row in found] for name, found in exported.items()}
    assert rows == {
        "/logs/trial/loss": [[3, 2.0]],
        "/logs/plot/sin": [[4, 1.0]],
        "/logs/plot/cos": [[4, 2.0]],
    }


def test_layouts_of_charts(scripted: ScriptedDaemon) -> None:
    def log(sw: SummaryWriter) -> None:
        sw.add_custom_scalars(
            {"one": {"a": ["Multiline", ["x", "y"]], "b": ("Margin", ("v", "l", "u"))}, "two": {}}
        )
        sw.add_custom_scalars_multilinechart(["x"], "c", "t")
        sw.add_custom_scalars_marginchart(["v", "l", "u"])

    sent = send(scripted, log)
    category, chart = pb.ChartCategory, pb.Chart
    assert [list(record.payload.custom_scalars.categories) for record in sent] == [
        [
            category(
                title="one",
                charts=[
                    chart(title="a", tags=["x", "y"]),
                    chart(title="b", is_margin=True, tags=["v", "l", "u"]),
                ],
            ),
            category(title="two"),
        ],
        [category(title="c", charts=[chart(title="t", tags=["x"])])],
        [
            category(
                title="default",
                charts=[chart(title="untitled", is_margin=True, tags=["v", "l", "u"])],
            )
        ],
    ]
