"""Every room imports what its rule allows, and the pure ones reach nothing impure.

The graph of imports is read from the source, at the level of modules and inside
functions. That a package's ``__init__`` runs before its modules is left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import boardd
import boardd_client
import boardd_protos
import pytest

PACKAGES = {
    "boardd_protos": Path(boardd_protos.__file__).parent,
    "boardd_client": Path(boardd_client.__file__).parent,
    "boardd": Path(boardd.__file__).parent,
}

#: From each room to those that it may import, from the top of the house to its ground: a
#: room may import only rooms below its own line. ``__init__`` is the package itself, and a
#: module at the top counts as a room. All may import ``boardd_protos``.
ROOMS: dict[str, dict[str, set[str]]] = {
    "boardd_client": {
        "__init__": {"errors", "run", "session", "writer"},
        "tensorboardX": {"dropins"},
        "torch": {"dropins"},
        "hooks": {"calls", "capture", "writer"},
        "dropins": {"calls", "capture", "writer"},
        "writer": {
            *("calls", "capture", "environment", "memory", "ranks", "run", "session", "transport"),
        },
        "run": {"calls", "capture", "memory", "session", "transport"},
        "transport": {"environment", "errors", "memory", "session"},
        "session": {"errors", "memory"},
        "calls": {"capture"},
        "capture": {"errors", "memory"},
        "memory": {"errors"},
        "environment": set(),
        "ranks": set(),
        "errors": set(),
    },
    "boardd": {
        "__init__": set(),
        "__main__": {"cli"},
        "cli": {"commands", "errors"},
        "commands": {"errors", "host", "merge", "rpc", "settings"},
        "merge": {"errors", "events", "partials", "runs", "summaries"},
        "host": {"errors", "metrics", "relay", "rpc", "settings", "shipping", "summaries"},
        "rpc": {"core", "errors", "relay", "runs", "sessions"},
        "sessions": {"core", "runs", "system"},
        "shipping": {"runs"},
        "runs": {"core", "events", "partials", "relay", "summaries"},
        "summaries": {"events", "partials", "reduce"},
        "partials": {"reduce"},
        "settings": {"core", "errors"},
        "relay": {"errors"},
        "metrics": set(),
        "system": set(),
        "core": set(),
        "events": set(),
        "reduce": set(),
        "errors": set(),
    },
}
#: The same inside of rooms. ``__init__`` stands for the modules beside the inner rooms.
INNER_ROOMS: dict[str, dict[str, set[str]]] = {
    "boardd.runs": {
        "__init__": {"directories", "event_files", "groups", "journal", "threads", "writing"},
        "groups": {"directories", "event_files", "journal", "writing"},
        "writing": {"event_files", "journal"},
        "journal": {"directories", "event_files"},
        "event_files": {"directories", "threads"},
        "threads": set(),
        "directories": set(),
    },
    "boardd.core": {
        "session": {"__init__", "intake", "runs"},
        "groups": set(),
        "intake": {"__init__"},
        "runs": {"__init__"},
        "__init__": set(),
    },
    "boardd.reduce": {
        "histogram": {"__init__"},
        "image": {"__init__"},
        "__init__": set(),
    },
}
MAX_ARROWS = 41

#: The rooms that compute only, and what in them does not.
PURE = {
    *("boardd.core", "boardd.reduce", "boardd.events", "boardd.summaries"),
    *("boardd.partials", "boardd.metrics"),
    *("boardd_client.session", "boardd_client.memory", "boardd_client.calls"),
}
IMPURE = {f"boardd_client.memory.{module}" for module in ("log", "maps", "pinning")}

FORBIDDEN = {
    *("asyncio", "concurrent", "multiprocessing", "queue", "sched", "selectors", "signal"),
    *("socket", "socketserver", "ssl", "subprocess", "tempfile", "time", "datetime", "uvloop"),
    *("fcntl", "glob", "http", "mmap", "pathlib", "shutil", "urllib", "grpc", "uuid"),
    *("logging", "random", "secrets"),
}
#: Of modules that can do more, all that may be used: memory that acts as a file, a lock,
#: which waits for no other work, and a library that is imported only if the user has it.
ALLOWED_NAMES = {
    "importlib": {"import_module"},
    "io": {"BytesIO"},
    "os": {"PathLike", "cpu_count", "fspath", "getpid"},
    "threading": {"Lock", "RLock"},
}


@cache
def modules() -> dict[str, Path]:
    """Every module of ours by its full name, generated code left out."""
    found = {}
    for package, directory in PACKAGES.items():
        for path in sorted(directory.rglob("*.py")):
            if not path.stem.endswith(("_pb2", "_pb2_grpc")):
                parts = path.relative_to(directory).with_suffix("").parts
                found[".".join((package, *parts)).removesuffix(".__init__")] = path
    return found


@cache
def source_of(module: str) -> str:
    return modules()[module].read_text()


@cache
def imports(source: str) -> frozenset[str]:
    """Full names of what ``source`` imports; of a module's content, the module's name."""
    return frozenset(_imports(source))


def _imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports name their module in full"
            assert node.module is not None
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in modules() else node.module


def room_of(module: str) -> tuple[str, str]:
    package, *rest = module.split(".")
    return package, rest[0] if rest else "__init__"


def inner_room_of(outer: str, module: str) -> str:
    first = module.removeprefix(outer).lstrip(".").partition(".")[0]
    return first if first in INNER_ROOMS[outer] else "__init__"


def wrong_arrows(module: str, source: str) -> list[str]:
    """What ``module`` may not import, though ``source`` does, as ``from -> to``."""
    return [f"{module} -> {name}" for name in imports(source) if not may_import(module, name)]


def may_import(module: str, name: str) -> bool:
    package, room = room_of(module)
    target_package, target = room_of(name)
    if target_package not in PACKAGES or target_package == "boardd_protos":
        return True
    if target_package != package:
        return False
    if room != target:
        return target in ROOMS[package][room]
    outer = f"{package}.{room}"
    if outer not in INNER_ROOMS:
        return True
    here, there = inner_room_of(outer, module), inner_room_of(outer, name)
    return here == there or there in INNER_ROOMS[outer][here]


@cache
def impurities(source: str) -> tuple[str, ...]:
    """What ``source`` itself does but compute."""
    return tuple(_impurities(source))


def _impurities(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
            allowed = ALLOWED_NAMES.get(node.module or "")
            if allowed is not None:
                yield from (alias.name for alias in node.names if alias.name not in allowed)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            allowed = ALLOWED_NAMES.get(node.value.id)
            if allowed is not None and node.attr not in allowed:
                yield f"{node.value.id}.{node.attr}"
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("open", "print", "input")
        ):
            yield f"{node.func.id}()"
        yield from (name for name in names if name.partition(".")[0] in FORBIDDEN)


def reached_impurities(module: str, source: str) -> list[str]:
    """What ``module`` and all that it imports of ours does but compute, as ``module: what``."""
    found = []
    seen = {module}
    waiting = [(module, source)]
    while waiting:
        name, text = waiting.pop()
        found += [f"{name}: {what}" for what in impurities(text)]
        new = (imports(text) & set(modules())) - seen
        seen |= new
        waiting += [(target, source_of(target)) for target in sorted(new)]
    return found


def pure_modules() -> list[str]:
    return [
        module
        for module in modules()
        if ".".join(module.split(".")[:2]) in PURE and module not in IMPURE
    ]


@pytest.mark.parametrize("module", modules())
def test_a_module_imports_what_its_room_may(module: str) -> None:
    assert wrong_arrows(module, source_of(module)) == []


@pytest.mark.parametrize("module", pure_modules())
def test_pure_modules_reach_nothing_but_computation(module: str) -> None:
    assert reached_impurities(module, source_of(module)) == []


def test_no_arrow_leads_upwards() -> None:
    for rooms in (*ROOMS.values(), *INNER_ROOMS.values()):
        order = list(rooms)
        for number, (room, allowed) in enumerate(rooms.items()):
            assert allowed <= set(order[number + 1 :]), f"{room} imports what is not below it"


@pytest.mark.parametrize("package", ROOMS)
def test_the_house_has_the_rooms_that_the_table_names(package: str) -> None:
    assert {room for name in modules() for owner, room in [room_of(name)] if owner == package} == (
        set(ROOMS[package])
    )


@pytest.mark.parametrize("package", ROOMS)
def test_few_arrows_lead_from_room_to_room(package: str) -> None:
    arrows = {
        (room_of(module)[1], room_of(name)[1])
        for module in modules()
        if room_of(module)[0] == package
        for name in imports(source_of(module))
        if room_of(name)[0] == package and room_of(name) != room_of(module)
    }
    assert len(arrows) <= MAX_ARROWS, sorted(arrows)


@pytest.mark.parametrize(
    "room",
    [
        f"{package}.{room}"
        for package, rooms in (*ROOMS.items(), *INNER_ROOMS.items())
        for room in rooms
        if f"{package}.{room}" in modules()
        and (modules()[f"{package}.{room}"].name == "__init__.py")
    ],
)
def test_a_room_says_what_it_may_import(room: str) -> None:
    """The last line of a room's docstring is its line of the table."""
    package, _, name = room.rpartition(".")
    allowed = {**ROOMS, **INNER_ROOMS}[package][name]
    said = re.search(r"^May import: (.*)\.\Z", ast.get_docstring(module_tree(room)) or "", re.M)
    assert said is not None
    named = set() if said[1] == "no other room" else set(said[1].split(", "))
    beside = {f"the modules beside {name}"} if "__init__" in allowed else set()
    assert named == allowed - {"__init__"} | beside


#: Folders of unit tests by the package whose rooms they test.
TEST_FOLDERS = {"boardd_protos": "protos", "boardd_client": "client", "boardd": "daemon"}


@pytest.mark.parametrize("package", PACKAGES)
def test_each_room_has_its_folder_of_tests(package: str) -> None:
    """A room that is a single module needs none; its test lies beside the folders."""
    rooms = {
        path.parent.relative_to(PACKAGES[package])
        for path in PACKAGES[package].rglob("__init__.py")
    }
    tests = Path(__file__).parent / TEST_FOLDERS[package]
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")}
    assert folders | {Path()} == rooms


def module_tree(module: str) -> ast.Module:
    return ast.parse(source_of(module))


def test_the_pure_rooms_are_there() -> None:
    assert set(modules()) >= PURE


@pytest.mark.parametrize("module", sorted(IMPURE))
def test_what_is_said_to_be_impure_is(module: str) -> None:
    assert reached_impurities(module, source_of(module))


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from time import monotonic",
        "import threading\nthreading.Thread()",
        "from threading import Timer",
        "import grpc.aio",
        "from concurrent.futures import Executor",
        "import logging",
        "import random",
        "from secrets import token_bytes",
        "import importlib\nimportlib.reload(here)",
        "open('x')",
        "import io\nio.open('x')",
        "import os\nos.stat('x')",
        "def f():\n    import asyncio",
        "from boardd.runs.event_files.event_file import EventFile",
        "from boardd_client.transport.sender import x",
        "from boardd_client import transport\nfrom boardd_client.transport import sender",
        "def f():\n    from boardd_protos import local_socket",
        "import boardd.sessions.sessions",
    ],
)
def test_impurity_is_seen(source: str) -> None:
    assert reached_impurities("here", source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("boardd.events.event", "from boardd.reduce.pca import project"),
        ("boardd.reduce.pca", "from boardd.core import order"),
        ("boardd.core.order", "import boardd.runs.run_table"),
        ("boardd.core.runs.names", "from boardd.core.session import session"),
        ("boardd.reduce.image.grid", "from boardd.reduce.histogram import bins"),
        ("boardd.runs.run_table", "def f():\n    from boardd.rpc import service"),
        ("boardd.cli", "import boardd_client"),
        ("boardd_client.writer", "from boardd.errors import CommandError"),
        ("boardd_client.memory.ring", "from boardd_client.session.session import Session"),
        ("boardd_client.calls.media", "from boardd_client import writer"),
        ("boardd_protos.limits", "from boardd.core.budget import Budgets"),
        ("boardd_protos.limits", "import boardd_client.errors"),
    ],
)
def test_a_wrong_arrow_is_seen(module: str, source: str) -> None:
    assert wrong_arrows(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("boardd.core.session.session", "from boardd.core.runs import names"),
        ("boardd.core.session.session", "from boardd.core import order"),
        ("boardd_client.session.session", "from boardd_protos import limits"),
        ("boardd.rpc.service", "import grpc, boardd.core.errors"),
    ],
)
def test_a_right_arrow_is_none_too_many(module: str, source: str) -> None:
    assert wrong_arrows(module, source) == []
