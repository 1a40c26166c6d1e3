"""Refused runs are kept for the status, the latest of them, and logged once each."""

from __future__ import annotations

import logging

import pytest
from boardd.core.budget import Budgets
from boardd.core.refusals import Refusal
from boardd.core.runs.defined_runs import RunRefusal
from boardd.sessions.refused_runs import MAX_REFUSED_RUNS, RefusedRuns
from boardd.sessions.registry import Registry
from boardd_protos import boardd_pb2 as pb

OUTSIDE = Refusal(pb.OUTSIDE_ROOTS, "outside")


def test_the_latest_are_kept_and_each_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    registry = Registry(Budgets(), lambda: 0.0)
    session = registry.open(pb.OpenRequest(session_id=bytes(16), program="train.py")).session
    session.define(
        pb.Definitions(runs=[pb.RunDefinition(run=1, logdir="/x", name="a", rank=-1)]),
        {"/x": OUTSIDE},
    )
    runs = RefusedRuns()
    for _ in range(3):
        runs.note(session, [RunRefusal(1, OUTSIDE), RunRefusal(1, OUTSIDE, "deep/er")])
    assert [(run.path, run.times) for run in runs] == [("/x/a", 3), ("/x/a/deep/er", 3)]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "run /x/a of train.py (pid 0 on ) is refused (and 1 more)" in record.getMessage()
    runs.note(session, [RunRefusal(number, OUTSIDE) for number in range(2, 1000)])
    kept = list(runs)
    assert len(kept) == MAX_REFUSED_RUNS
    assert kept[-1].path == "number 999"
    assert len(caplog.records) == 2
