"""The pure parts import nothing that does I/O, tells the time, or waits."""

from __future__ import annotations

import ast
from pathlib import Path

import boardd
import boardd_client
import pytest

DAEMON = Path(boardd.__file__).parent
CLIENT = Path(boardd_client.__file__).parent

FORBIDDEN = {
    *("asyncio", "concurrent", "multiprocessing", "queue", "sched", "selectors", "signal"),
    *("socket", "socketserver", "ssl", "subprocess", "tempfile", "time", "datetime", "uvloop"),
    *("fcntl", "glob", "http", "mmap", "pathlib", "shutil", "urllib", "grpc", "uuid"),
}
#: Of modules that can do more, all that may be used: memory that acts as a file, and a
#: lock, which waits for no other work.
ALLOWED_NAMES = {
    "io": {"BytesIO"},
    "os": {"PathLike", "cpu_count", "fspath", "getpid"},
    "threading": {"Lock", "RLock"},
}
#: What the pure packages may use of the daemon: each other.
PURE_PACKAGES = ("boardd.core", "boardd.reduce", "boardd.events", "boardd.summaries")
#: What of the client does I/O, tells the time, or waits.
IMPURE_CLIENT = ("boardd_client.transport", "boardd_client.writer")


def pure_modules() -> list[Path]:
    found = [
        path
        for package in ("core", "reduce", "events", "summaries")
        for path in sorted((DAEMON / package).rglob("*.py"))
        if not path.name.endswith("_pb2.py")
    ]
    names = ("memory/arena.py", "memory/ring.py", "session/session.py")
    return found + [CLIENT / name for name in names]


def violations(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            allowed = ALLOWED_NAMES.get(node.module or "")
            if allowed is not None:
                found += [alias.name for alias in node.names if alias.name not in allowed]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            allowed = ALLOWED_NAMES.get(node.value.id)
            if allowed is not None and node.attr not in allowed:
                found.append(f"{node.value.id}.{node.attr}")
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("open", "print", "input")
        ):
            found.append(f"{node.func.id}()")
        for name in names:
            if name.partition(".")[0] in FORBIDDEN:
                found.append(name)
            if name.startswith(("boardd.", *IMPURE_CLIENT)) and not name.startswith(PURE_PACKAGES):
                found.append(name)
    return found


@pytest.mark.parametrize("path", pure_modules(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_pure_modules_do_nothing_but_compute(path: Path) -> None:
    assert violations(path.read_text()) == []


def test_the_list_of_modules_is_not_empty() -> None:
    packages = {path.parent.name for path in pure_modules()}
    assert {"core", "reduce", "events", "summaries"} <= packages


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from time import monotonic",
        "import threading\nthreading.Thread()",
        "from threading import Timer",
        "import grpc.aio",
        "from concurrent.futures import Executor",
        "open('x')",
        "import io\nio.open('x')",
        "import os\nos.stat('x')",
        "def f():\n    import asyncio",
        "from boardd.runs.event_file import EventFile",
        "from boardd_client.transport.sender import x",
    ],
)
def test_impurity_is_seen(source: str) -> None:
    assert violations(source)
