"""What users call says what each of its arguments is, as the site of the documents shows it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from boardd_client import SummaryWriter

CALLS = [
    SummaryWriter,
    *(
        call
        for name, call in inspect.getmembers(SummaryWriter, callable)
        if not name.startswith("_")
    ),
]


def undocumented(call: Callable[..., Any]) -> list[str]:
    """The parameters that the section ``Args`` of a docstring does not have."""
    text = inspect.getdoc(call) or ""
    names = [name for name in inspect.signature(call).parameters if name != "self"]
    section = re.search(r"^Args:\n((?:    .*\n|\n)*)", text + "\n", re.MULTILINE)
    documented = re.findall(r"^    (\w+): ", section[1], re.MULTILINE) if section else []
    if documented == names:
        return []
    return [name for name in names if name not in documented] or [f"in another order: {documented}"]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_every_argument_is_documented_in_its_order(call: Callable[..., Any]) -> None:
    assert undocumented(call) == []
    if inspect.signature(call).parameters.keys() - {"self"}:
        assert "\nRaises:\n" in (inspect.getdoc(call) or "")


def test_what_is_not_documented_is_seen() -> None:
    def call(first: int, second: int) -> None:
        """Does.

        Args:
            first: a number.
        """

    assert undocumented(call) == ["second"]
