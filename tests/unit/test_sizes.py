"""Modules hold one concept, and the objects with the most fragile states stay small."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import boardd
import boardd_client
import boardd_protos
import pytest

MAX_MODULE_LINES = 500
MAX_CLASS_LINES = 250
MAX_ATTRIBUTES = 12

#: Whose classes are held to the limits of a class.
HUBS = (
    *("boardd_client/transport", "boardd_client/session"),
    *("boardd/core/session", "boardd/core/runs", "boardd/rpc", "boardd/sessions", "boardd/runs"),
)
PACKAGES = [Path(package.__file__).parent for package in (boardd, boardd_client, boardd_protos)]


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        for path in sorted(package.rglob("*.py")):
            if not path.stem.endswith(("_pb2", "_pb2_grpc")):
                yield path


def classes() -> Iterator[tuple[str, ast.ClassDef]]:
    for path in modules():
        if any(f"/{hub}/" in path.as_posix() for hub in HUBS):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.ClassDef):
                    yield f"{path.parent.name}/{path.name}: {node.name}", node


#: With the name of each, for people.
CLASSES = list(classes())


def attributes(node: ast.ClassDef) -> set[str]:
    """Names that the class's methods set on ``self``, and its fields."""
    found = {
        field.target.id
        for field in node.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }
    for part in ast.walk(node):
        if (
            isinstance(part, ast.Attribute)
            and isinstance(part.ctx, ast.Store)
            and isinstance(part.value, ast.Name)
            and part.value.id == "self"
        ):
            found.add(part.attr)
    return found


@pytest.mark.parametrize(
    "path", list(modules()), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_a_module_is_of_a_size_to_be_read(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_MODULE_LINES


@pytest.mark.parametrize("node", [pytest.param(node, id=name) for name, node in CLASSES])
def test_a_class_of_the_hubs_is_small(node: ast.ClassDef) -> None:
    assert node.end_lineno is not None
    assert node.end_lineno - node.lineno < MAX_CLASS_LINES
    assert len(attributes(node)) <= MAX_ATTRIBUTES, sorted(attributes(node))


def test_the_hubs_are_there() -> None:
    names = {node.name for _, node in CLASSES}
    assert {"Sender", "Session", "Sessions", "RunState", "RunWriter", "Service"} <= names
