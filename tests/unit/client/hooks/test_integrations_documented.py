"""What ``docs/integrations.md`` shows exists, and takes the arguments that are shown."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import warnings
from pathlib import Path

import pytest

DOCUMENT = (Path(__file__).parents[4] / "docs/integrations.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", DOCUMENT, re.DOTALL | re.MULTILINE)
NAMED = re.compile(r"`hooks\.(\w+)\.(Boardd\w+)`")


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_calls_what_there_is(snippet: str) -> None:
    tree = ast.parse(snippet)
    (imported,) = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    assert imported.module is not None
    name = imported.names[0].name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries' own, at import
        module = pytest.importorskip(imported.module, reason="its library", exc_type=ImportError)
    signature = inspect.signature(getattr(module, name))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == name]
    assert made or imported.module == "boardd_client.torch"
    for call in made:
        signature.bind(*call.args, **{word.arg or "": word.value for word in call.keywords})


def test_every_library_has_a_snippet() -> None:
    shown = re.findall(r"from boardd_client\.hooks\.(\w+) import (\w+)", DOCUMENT)
    assert sorted(NAMED.findall(DOCUMENT)) == sorted(shown)
    hooks = Path(importlib.import_module("boardd_client.hooks").__path__[0])
    there = {
        (path.stem, name)
        for path in hooks.glob("*.py")
        for name in re.findall(r"^class (Boardd\w+)", path.read_text(), re.MULTILINE)
    }
    assert set(shown) == there
