"""No error that is raised is held by the frame that raises it.

Its traceback names the frame, so both would keep each other, and all that the frames of the
traceback name with them, until the garbage is collected: tensors, maps and open files.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import boardd
import boardd_client
import boardd_protos

PACKAGES = [Path(package.__file__).parent for package in (boardd, boardd_client, boardd_protos)]


def held_errors(node: ast.AST, let_go: frozenset[str] = frozenset()) -> Iterator[ast.Raise]:
    """Yields what raises a name or an attribute that its function does not let go of.

    ``except`` lets go of its own name; a ``finally`` may, of others.
    """
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        let_go = frozenset()
    elif isinstance(node, ast.ExceptHandler) and node.name:
        let_go |= {node.name}
    elif isinstance(node, ast.Try):
        let_go |= set(_let_go(node.finalbody))
    elif isinstance(node, ast.Raise) and isinstance(node.exc, (ast.Name, ast.Attribute)):
        name = ast.unparse(node.exc)
        is_class = name.rpartition(".")[2][0].isupper()
        if not is_class and name not in let_go:
            yield node
    for child in ast.iter_child_nodes(node):
        yield from held_errors(child, let_go)


def _let_go(body: list[ast.stmt]) -> Iterator[str]:
    for statement in body:
        if isinstance(statement, ast.Assign) and ast.unparse(statement.value) != "None":
            continue
        if isinstance(statement, (ast.Assign, ast.Delete)):
            yield from map(ast.unparse, statement.targets)


def test_no_frame_holds_the_error_that_it_raises() -> None:
    found = [
        f"{path}:{held.lineno}: {ast.unparse(held)}: raise what a call returns, or let go of it "
        "in a finally"
        for package in PACKAGES
        for path in sorted(package.rglob("*.py"))
        for held in held_errors(ast.parse(path.read_text()))
    ]
    assert not found, "\n".join(found)


def test_held_errors_are_found() -> None:
    held = """
def fail(self, error):
    refusal = ValueError()
    try:
        raise refusal from error
    finally:
        self.error = 1
    raise self.error
"""
    let_go = """
def fail(self, error):
    try:
        raise error
    except ValueError as own:
        raise own
    finally:
        del error
    raise NotImplementedError
    raise self.made()
"""
    assert [one.lineno for one in held_errors(ast.parse(held))] == [5, 8]
    assert not list(held_errors(ast.parse(let_go)))
