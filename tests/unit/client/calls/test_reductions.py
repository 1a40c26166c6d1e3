from __future__ import annotations

import pytest
from boardd_client.calls import reductions
from boardd_client.calls.reductions import Reductions

Warned = list[tuple[str, str]]


def made(
    warned: Warned, default: str = "mean", **options: dict[tuple[str, str], str]
) -> Reductions:
    return Reductions(default, lambda key, text: warned.append((key, text)), **options)


def test_the_first_that_is_named_counts_and_another_is_warned_about() -> None:
    warned: Warned = []
    found = made(warned)
    found.choose("", "loss", "max")
    assert found.settle("", "loss") == "max"
    found.choose("", "loss", "max")
    assert not warned
    found.choose("", "loss", "sum")
    assert found.settle("", "loss") == "max"
    ((_, text),) = warned
    assert "tag 'loss' was logged with reduce='max' before" in text
    assert "reduce='sum' is ignored" in text


def test_a_tag_that_was_logged_without_one_keeps_the_default() -> None:
    warned: Warned = []
    found = made(warned, "sum")
    assert found.settle("", "loss") == ""
    found.choose("", "loss", "sum")
    assert not warned
    found.choose("", "loss", "max")
    assert found.settle("", "loss") == ""
    assert len(warned) == 1


def test_sub_runs_choose_for_themselves() -> None:
    warned: Warned = []
    found = made(warned)
    found.choose("plot/a", "plot", "max")
    found.choose("plot/b", "plot", "min")
    assert [found.settle(sub_run, "plot") for sub_run in ("plot/a", "plot/b", "")] == [
        *("max", "min", ""),
    ]
    assert not warned


def test_what_was_chosen_can_be_handed_on() -> None:
    first = made([])
    first.choose("", "loss", "max")
    assert made([], chosen=first.chosen).settle("", "loss") == "max"


def test_tags_without_end_take_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reductions, "_MAX_TAGS", 3)
    warned: Warned = []
    found = made(warned)
    for number in range(10):
        found.choose("", f"tag{number}", "max")
    assert len(found.chosen) == 3
    found.choose("", "tag0", "min")
    assert len(warned) == 1
    assert found.settle("", "tag9") == ""
