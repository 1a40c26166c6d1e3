"""The sockets that a service manager passes are taken, and told apart by where they listen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.service_manager import ServiceManager

#: Prints what is taken as the variables say, what is left of them, and what is inherited.
TAKE = """
import os, sys
from pathlib import Path
from boardd.errors import ConfigError
from boardd.host.activation import Activation
path = Path(sys.argv[1])
if len(sys.argv) > 2:
    os.environ["LISTEN_PID"] = sys.argv[2]
try:
    found = Activation.take(os.environ, path, path.with_name(path.name + ".maps"))
except ConfigError as error:
    sys.exit(str(error))
for passed in (found.calls, found.maps):
    print(passed and (passed.getsockname(), os.get_inheritable(passed.fileno())))
print([name for name in os.environ if name.startswith("LISTEN_")])
"""


@pytest.fixture
def path(runtime_directory: Path) -> Path:
    return runtime_directory / "s"


def take(manager: ServiceManager, *arguments: str) -> tuple[int, list[str]]:
    process = manager.popen(
        [sys.executable, "-c", TAKE, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = process.communicate(timeout=60)
    return process.returncode, output.decode().splitlines()


def test_both_sockets_are_taken(path: Path) -> None:
    with ServiceManager(path) as manager:
        assert take(manager, str(path)) == (
            0,
            [f"('{path}', False)", f"('{path}.maps', False)", "[]"],
        )


def test_those_of_another_process_are_left(path: Path) -> None:
    with ServiceManager(path) as manager:
        assert take(manager, str(path), str(os.getpid())) == (0, ["None", "None", "[]"])


def test_others_are_refused_with_what_to_set(path: Path) -> None:
    other = path.with_name("other")
    with ServiceManager(path) as manager:
        code, lines = take(manager, str(other))
    assert code == 1
    assert f"passes a socket at '{path}'; set ListenStream={other} and" in lines[-1]
