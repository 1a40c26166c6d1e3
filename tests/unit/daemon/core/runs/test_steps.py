"""What is known of the steps that were written."""

from __future__ import annotations

from boardd.core.runs.steps import StepMonitor


def test_the_highest_step_is_that_of_any_tag() -> None:
    monitor = StepMonitor()
    assert monitor.highest is None
    monitor.observe_one(3, 7)
    monitor.observe_one(20, -2)
    assert monitor.highest == 7
    monitor.rewind(5)
    assert monitor.highest == 4
