"""What writers tell of how their ranks are merged."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from boardd_client import SummaryWriter
from boardd_protos import boardd_pb2 as pb
from support.scripted_daemon import ScriptedDaemon
from support.scripted_writer import writer

pytestmark = pytest.mark.usefixtures("no_autostart")

SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "2",
    "SLURM_RESTART_COUNT": "1",
    "SLURM_PROCID": "3",
    "SLURM_STEP_NUM_TASKS": "4",
}


def runs(scripted: ScriptedDaemon) -> list[pb.RunDefinition]:
    return [run for message in scripted.definitions for run in message.runs]


def reductions(scripted: ScriptedDaemon) -> list[tuple[str, str, str]]:
    return [
        (series.sub_run, series.tag, series.reduce)
        for message in scripted.definitions
        for series in message.series
    ]


def test_the_defaults(scripted: ScriptedDaemon) -> None:
    with writer(scripted) as sw:
        sw.add_scalar("loss", 1.0, 1)
    (run,) = runs(scripted)
    assert (run.reduce, run.per_rank, run.launch, run.attempt) == ("mean", "scalars", "", 0)
    assert reductions(scripted) == [("", "loss", "")]


def test_arguments_are_told(scripted: ScriptedDaemon) -> None:
    options = {"reduce": "sum", "per_rank": "all", "launch": "mine"}
    with writer(scripted, rank=0, world_size=2, **options) as sw:
        sw.add_scalar("loss", 1.0, 1)
    (run,) = runs(scripted)
    assert (run.reduce, run.per_rank, run.launch, run.attempt) == ("sum", "all", "mine", 0)


def test_the_environment_is_told_unless_an_argument_says_otherwise(
    scripted: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**SLURM, "BOARDD_REDUCE": "max", "BOARDD_PER_RANK": "none"}.items():
        monkeypatch.setenv(name, value)
    with writer(scripted) as one, writer(scripted, reduce="last", per_rank="all") as other:
        one.add_scalar("loss", 1.0, 1)
        other.add_scalar("loss", 1.0, 1)
    first, second = runs(scripted)
    assert (first.rank, first.world_size) == (3, 4)
    assert (first.reduce, first.per_rank) == ("max", "none")
    assert (first.launch, first.attempt) == ("4711:2 of 4", 1)
    assert (second.reduce, second.per_rank) == ("last", "all")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"reduce": "median"}, ValueError),
        ({"reduce": 3}, TypeError),
        ({"per_rank": "some"}, ValueError),
        ({"per_rank": True}, TypeError),
        ({"launch": ""}, ValueError),
    ],
)
def test_wrong_options_raise(options: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        SummaryWriter("/logs", **options)


@pytest.mark.parametrize("name", ["BOARDD_REDUCE", "BOARDD_PER_RANK"])
def test_a_wrong_environment_raises(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "median")
    with pytest.raises(ValueError, match=f"{name}='median': expected one of "):
        SummaryWriter("/logs")


def test_a_tag_may_have_a_way_of_its_own(
    scripted: ScriptedDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    with writer(scripted) as sw:
        sw.add_scalar("samples", 1.0, 1, reduce="sum")
        sw.add_scalar("samples", 2.0, 2)
        sw.add_scalar("samples", 3.0, 3, reduce="sum")
        sw.add_scalar("loss", 4.0, 1)
        sw.add_scalars("memory", {"used": 5.0, "free": 6.0}, 1, reduce="max")
        sw.add_scalar("plot", ("a", 7.0), 1, reduce="min")
        sw.add_hparams({"lr": 0.1}, {"accuracy": 8.0}, "trial")
    assert scripted.values() == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    assert [found for found in reductions(scripted) if found[0] != "trial"] == [
        ("", "samples", "sum"),
        ("", "loss", ""),
        ("memory/used", "memory", "max"),
        ("memory/free", "memory", "max"),
        ("plot/a", "plot", "min"),
    ]
    assert "reduce" not in caplog.text


def test_a_tag_with_two_ways_keeps_the_first_and_one_warning_says_so(
    scripted: ScriptedDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    with writer(scripted) as sw:
        for step in range(5):
            sw.add_scalar("loss", float(step), step, reduce="max")
            sw.add_scalar("loss", float(step), step, reduce="min")
        sw.add_scalar("accuracy", 1.0, 1)
        sw.add_scalar("accuracy", 1.0, 2, reduce="sum")
    assert reductions(scripted) == [("", "loss", "max"), ("", "accuracy", "")]
    warnings = [record.message for record in caplog.records if "reduce=" in record.message]
    assert [text.split(" was logged")[0] for text in warnings] == [
        "boardd: tag 'loss'",
        "boardd: tag 'accuracy'",
    ]
    assert len(scripted.values()) == 12


def test_curves_that_come_again_and_again_keep_their_way(scripted: ScriptedDaemon) -> None:
    with writer(scripted) as sw:
        for step in range(5):
            sw.add_scalars("curves", {"a": step, "b": step + 0.5}, step, reduce="last")
    assert scripted.values() == [step + part for step in range(5) for part in (0.0, 0.5)]
    assert {reduce for *_, reduce in reductions(scripted)} == {"last"}


@pytest.mark.parametrize(
    "call",
    [
        lambda sw: sw.add_scalar("loss", 1.0, 1, reduce="median"),
        lambda sw: sw.add_scalar("fresh", 1.0, 1, reduce="median"),
        lambda sw: sw.add_scalars("plot", {"a": 1.0}, 1, reduce="median"),
        lambda sw: sw.add_scalar("loss", 1.0, 1, reduce=""),
    ],
)
def test_an_unknown_way_raises_and_logs_nothing(
    scripted: ScriptedDaemon, call: Callable[[SummaryWriter], None]
) -> None:
    with writer(scripted) as sw:
        sw.add_scalar("loss", 1.0, 1)
        with pytest.raises(ValueError, match=r"reduce is .*, expected one of mean, sum"):
            call(sw)
        assert sw.statistics().accepted == 1


def test_a_call_that_raises_leaves_the_way_of_its_tag_open(scripted: ScriptedDaemon) -> None:
    with writer(scripted) as sw:
        with pytest.raises(TypeError):
            sw.add_scalar("loss", "text", 1, reduce="max")
        sw.add_scalar("loss", 1.0, 1, reduce="min")
    assert reductions(scripted) == [("", "loss", "min")]


def test_pickled_reopened_and_forked_writers_keep_all_of_it(
    scripted: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    with writer(scripted, reduce="sum", per_rank="none") as sw:
        sw.add_scalar("loss", 1.0, 1, reduce="max")
        pickled = pickle.dumps(sw)
        sw.close()
        sw.reopen()
        sw.add_scalar("loss", 2.0, 2)
        assert sw.flush(timeout=60)
        child = os.fork()
        if not child:
            code = 1
            try:
                sw.add_scalar("loss", 3.0, 3)
                code = 0 if sw.close(timeout=60) else 1
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
    for name in SLURM:
        monkeypatch.delenv(name)
    with pickle.loads(pickled) as copy:
        copy.add_scalar("loss", 4.0, 4)
    found = {
        (run.rank, run.world_size, run.reduce, run.per_rank, run.launch, run.attempt)
        for run in runs(scripted)
    }
    assert found == {(3, 4, "sum", "none", "4711:2 of 4", 1)}
    assert reductions(scripted) == [("", "loss", "max")] * 4


def test_a_pickled_writer_without_ranks_takes_those_of_where_it_is_loaded(
    scripted: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    pickled = pickle.dumps(writer(scripted))
    for name, value in SLURM.items():
        monkeypatch.setenv(name, value)
    with pickle.loads(pickled) as copy:
        copy.add_scalar("loss", 1.0, 1)
    (run,) = runs(scripted)
    assert (run.rank, run.world_size, run.launch) == (3, 4, "4711:2 of 4")


def test_an_export_has_what_this_process_has_logged(
    scripted: ScriptedDaemon, tmp_path: Path
) -> None:
    path = tmp_path / "scalars.json"
    with writer(scripted, rank=1, world_size=4, run="r") as sw:
        sw.add_scalar("loss", 1.0, 1, reduce="max")
        sw.export_scalars(path)
        assert sw.get_logdir() == "/logs/r"
    assert [row[1:] for row in json.loads(path.read_text())["/logs/r/loss"]] == [[1, 1.0]]
