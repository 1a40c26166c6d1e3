"""The directories of a session's runs."""

from __future__ import annotations

import pytest
from boardd.core.refusals import Refusal, RefusedError
from boardd.core.runs.run_paths import RunPaths
from boardd_protos import boardd_pb2 as pb


def run(number: int = 1, **fields: object) -> pb.RunDefinition:
    return pb.RunDefinition(run=number, logdir="logs", **{"rank": -1, **fields})  # type: ignore[arg-type]


def test_links_are_resolved_once_for_runs_and_sub_runs() -> None:
    paths = RunPaths("host", 7)
    message = run(name="exp", rank=1, world_size=2)
    definitions = pb.Definitions(
        runs=[message, run(2, name="..")],
        series=[
            pb.SeriesDefinition(series=2, run=1, tag="loss", sub_run="train"),
            pb.SeriesDefinition(series=3, run=1, tag="loss"),
            pb.SeriesDefinition(series=4, run=2, tag="loss", sub_run="x"),
            pb.SeriesDefinition(series=5, run=1, tag="loss", sub_run="../x"),
        ],
    )
    unresolved = paths.unresolved(definitions, {"logs": "/logs"})
    assert unresolved == {
        *("/logs/exp/rank_1", "/logs/exp/rank_1/train"),
        *("/logs/exp", "/logs/exp/train"),
    }
    paths.resolve(
        {"/logs/exp/rank_1": "/elsewhere", "/logs/exp/rank_1/train": "/t", "/logs/exp": "/exp"}
    )
    paths.add(message, "/logs")
    assert paths.of_run(1) == ("/elsewhere", "/exp")
    assert paths.of_sub_run(1, "train") == ("/t", "/logs/exp/train")
    # What was not looked up, and what is known by now.
    assert paths.of_sub_run(1, "test") == ("/logs/exp/rank_1/test", "/logs/exp/test")
    assert paths.unresolved(pb.Definitions(runs=[message]), {"logs": "/logs"}) == set()
    with pytest.raises(RefusedError, match=r"'\.\.'"):
        paths.add(run(2, name=".."), "/logs")


def test_a_refused_logdir_needs_no_look() -> None:
    refused = {"logs": Refusal(pb.OUTSIDE_ROOTS, "outside")}
    definitions = pb.Definitions(
        runs=[run()], series=[pb.SeriesDefinition(series=2, run=1, tag="x", sub_run="y")]
    )
    assert RunPaths("host", 7).unresolved(definitions, refused) == set()


def test_a_run_lies_where_its_name_leads_when_it_is_added_and_stays_there() -> None:
    paths = RunPaths("host", 7)
    paths.resolve({"/logs/latest": "/logs/one"})
    paths.add(run(1, name="latest"), "/logs")
    assert paths.of_run(1)[0] == "/logs/one"
    # Since then the link became a directory; or nobody could say where it leads.
    for number, looked_up in ((2, {"/logs/latest": "/logs/latest"}), (3, {})):
        paths.resolve(looked_up)
        paths.add(run(number, name="latest"), "/logs")
        assert paths.of_run(number)[0] == "/logs/latest"
        assert paths.of_run(1)[0] == "/logs/one", "it is open, and does not move"
        paths.resolve({"/logs/latest": "/logs/one"})


def test_runs_that_are_passed_over_are_not_looked_up() -> None:
    definitions = pb.Definitions(runs=[run(1, name="a"), run(2, name="b")])
    paths = RunPaths("host", 7)
    assert paths.unresolved(definitions, {"logs": "/logs"}, {1}) == {"/logs/b"}
