"""What the tests start is waited for with a deadline of the test's own, where there may be one.

``timeout`` in ``pyproject.toml`` bounds all other waits, and ends a session that hangs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import support

TESTS = Path(support.__file__).parent.parent
RUNS = {f"subprocess.{name}" for name in ("run", "call", "check_call", "check_output")}


def endless_waits(source: str) -> Iterator[int]:
    """Yields the lines of waits for a process that no ``timeout`` ends."""
    tree = ast.parse(source)
    awaited = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Await)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            waits = ast.unparse(node.func) in RUNS or node.func.attr == "communicate"
            is_bounded = "timeout" in {keyword.arg for keyword in node.keywords}
            if waits and not is_bounded and id(node) not in awaited:
                yield node.lineno


def test_processes_are_waited_for_with_a_timeout() -> None:
    found = [
        f"{path.relative_to(TESTS)}:{line}: give it a timeout"
        for path in sorted(TESTS.rglob("*.py"))
        for line in endless_waits(path.read_text())
    ]
    assert not found, "\n".join(found)


def test_endless_waits_are_found() -> None:
    source = "\n".join(
        [
            "subprocess.run(['true'], check=True)",
            "subprocess.run(['true'], timeout=60)",
            "process.communicate()",
            "process.communicate(timeout=60)",
            "async def main(): await process.communicate()",
        ]
    )
    assert list(endless_waits(source)) == [1, 3]
