"""How a writer's arguments say whether, and how often, its system is measured."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from boardd_client import SummaryWriter
from boardd_client.calls.run_options import RunOptions
from boardd_client.environment import Settings

pytestmark = pytest.mark.usefixtures("no_autostart")


def options(**more: Any) -> RunOptions:
    known = {"run": None, "filename_suffix": None, "purge_step": None, "sync": None}
    return RunOptions.checked(**{**known, "reduce": "mean", "per_rank": "all", **more})


@pytest.mark.parametrize(("value", "secs"), [(True, 15.0), (False, 0.0), (1, 1.0), (60.5, 60.5)])
def test_the_run_says_how_often_it_is_measured(value: object, secs: float) -> None:
    found = options(system_metrics=value)
    assert found.definition("/logs").system_metrics_secs == secs
    assert RunOptions.checked(**found.arguments()) == found


@pytest.mark.parametrize("value", [0, 0.5, -1, float("nan")])
def test_too_short_a_time_is_told(value: float) -> None:
    with pytest.raises(ValueError, match="system_metrics"):
        options(system_metrics=value)
    with pytest.raises(TypeError, match="system_metrics"):
        options(system_metrics="often")


def test_the_environment_counts_for_writers_that_do_not_say() -> None:
    assert Settings.from_environ({}).system_metrics
    assert Settings.from_environ({}).provenance
    off = Settings.from_environ({"BOARDD_SYSTEM_METRICS": "0", "BOARDD_PROVENANCE": "0"})
    assert not off.system_metrics
    assert not off.provenance
    with pytest.raises(ValueError, match="BOARDD_SYSTEM_METRICS"):
        Settings.from_environ({"BOARDD_SYSTEM_METRICS": "15"})


def test_an_unpickled_writer_does_the_same() -> None:
    sw = SummaryWriter("/logs", address="127.0.0.1:1", system_metrics=30, provenance=True)
    other = pickle.loads(pickle.dumps(sw))
    assert other._run_options == sw._run_options
