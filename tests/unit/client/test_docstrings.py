"""What users call says what each of its arguments is, as the site of the documents shows it."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from boardd_client import SummaryWriter
from support.documents import ROOT

CALLS = [
    SummaryWriter,
    *(
        call
        for name, call in inspect.getmembers(SummaryWriter, callable)
        if not name.startswith("_")
    ),
]


#: What else the site shows: the drop-ins and the hooks. They are read and not imported, for each
#: hook imports its framework.
OTHERS = re.findall(
    r"^\.\. auto(?:class|function):: (boardd_client\.(?:hooks|torch|tensorboardX)\..+)$",
    (ROOT / "docs/api.md").read_text(),
    re.MULTILINE,
)


def undocumented(call: Callable[..., Any]) -> list[str]:
    """The parameters that the section ``Args`` of a docstring does not have."""
    names = [name for name in inspect.signature(call).parameters if name != "self"]
    return missing(names, inspect.getdoc(call) or "")


def missing(names: list[str], text: str) -> list[str]:
    section = re.search(r"^Args:\n((?:    .*\n|\n)*)", text + "\n", re.MULTILINE)
    documented = re.findall(r"^    (\w+): ", section[1], re.MULTILINE) if section else []
    if documented == names:
        return []
    return [name for name in names if name not in documented] or [f"in another order: {documented}"]


def source_of(name: str) -> ast.ClassDef | ast.FunctionDef:
    """The definition of a class or a function, by its full name."""
    module, _, called = name.rpartition(".")
    tree = ast.parse((ROOT / "client" / f"{module.replace('.', '/')}.py").read_text())
    (found,) = (
        node
        for node in tree.body
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == called
    )
    return found


def parameters(definition: ast.ClassDef | ast.FunctionDef) -> list[str]:
    """What a function takes, or the ``__init__`` of a class."""
    if isinstance(definition, ast.ClassDef):
        inits = (node for node in definition.body if isinstance(node, ast.FunctionDef))
        definition = next(node for node in inits if node.name == "__init__")
    every = definition.args
    names = [*every.posonlyargs, *every.args, every.vararg, *every.kwonlyargs, every.kwarg]
    return [each.arg for each in names if each is not None and each.arg != "self"]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_every_argument_is_documented_in_its_order(call: Callable[..., Any]) -> None:
    assert undocumented(call) == []
    if inspect.signature(call).parameters.keys() - {"self"}:
        assert "\nRaises:\n" in (inspect.getdoc(call) or "")


@pytest.mark.parametrize("name", OTHERS)
def test_every_argument_of_drop_ins_and_hooks_is_documented(name: str) -> None:
    definition = source_of(name)
    assert missing(parameters(definition), ast.get_docstring(definition) or "") == []


@pytest.mark.parametrize(
    "name", [name for name in OTHERS if not name.startswith("boardd_client.hooks.")]
)
def test_every_call_of_a_drop_in_says_what_it_does(name: str) -> None:
    """Its arguments are documented where they come from."""
    module, _, called = name.rpartition(".")
    writer = getattr(importlib.import_module(module), called)
    calls = inspect.getmembers(writer, callable)
    assert [call for call, value in calls if call[0] != "_" and not inspect.getdoc(value)] == []


def test_what_is_not_documented_is_seen() -> None:
    def call(first: int, second: int) -> None:
        """Does.

        Args:
            first: a number.
        """

    assert undocumented(call) == ["second"]
