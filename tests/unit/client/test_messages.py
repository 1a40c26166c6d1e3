"""What the client says to people: who says it, and with what cure."""

from __future__ import annotations

import ast
import contextlib
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import boardd_client
import boardd_protos
import pytest
from boardd.settings.config import OPTIONS
from boardd_client.environment import Settings
from boardd_protos.printable import counted
from boardd_protos.variables import VARIABLES, misspelt
from support.scripted_daemon import ScriptedDaemon
from support.scripted_writer import writer
from support.tools import self_signed_certificate

LEVELS = {"debug", "info", "warning", "error", "critical", "exception", "log", "warn"}
#: A number beside a plural, which is wrong for 1: ``counted`` is for that.
NUMBER_OF_MANY = re.compile(r"%d (record|log|run|tag|series|scalar|value)s\b")
SETTINGS_PAGE = Path(__file__).parents[3] / "docs" / "settings.md"


def sources() -> Iterator[Path]:
    for package in (boardd_client, boardd_protos):
        yield from sorted(Path(package.__file__).parent.rglob("*.py"))


def log_calls(source: str) -> Iterator[ast.Call]:
    """Calls of loggers, and of ``warnings.warn``."""
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LEVELS
            and isinstance(node.func.value, ast.Name)
            and (node.func.value.id in ("logging", "warnings") or "log" in node.func.value.id)
        ):
            yield node


def text_of(call: ast.Call) -> str:
    """The text of a log call, with ``%`` for what is put in; empty if there is none to see."""
    assert isinstance(call.func, ast.Attribute)
    text = call.args[1 if call.func.attr == "log" else 0]
    if isinstance(text, ast.Constant):
        return str(text.value)
    parts = text.values if isinstance(text, ast.JoinedStr) else []
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "%d" for part in parts)


def complaints(source: str) -> list[str]:
    found = []
    for call in log_calls(source):
        text = text_of(call)
        if not text.startswith("boardd: ") or NUMBER_OF_MANY.search(text):
            found.append(f"line {call.lineno}: {text!r}")
    return found


@pytest.mark.parametrize(
    "path", list(sources()), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_whatever_is_logged_says_that_boardd_says_it(path: Path) -> None:
    assert complaints(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    [
        "_logger.warning('the disk is full')",
        "_logger.log(logging.INFO, '%s: gone', path)",
        "warnings.warn(text)",
        "_logger.info(f'{path}: gone')",
        "_logger.info('boardd: %d records are lost', count)",
        "_logger.info(f'boardd: {count} records are lost')",
    ],
)
def test_a_message_of_another_kind_is_seen(source: str) -> None:
    assert complaints(source)


def test_the_calls_are_found() -> None:
    assert sum(1 for path in sources() for _ in log_calls(path.read_text())) > 15


def test_one_is_no_plural() -> None:
    assert [counted(number, "record") for number in (0, 1, 2)] == [
        "0 records",
        "1 record",
        "2 records",
    ]


def test_every_variable_is_known() -> None:
    documented = set(re.findall(r"\bBOARDD_[A-Z_]+\b", SETTINGS_PAGE.read_text()))
    assert {option.variable for option in OPTIONS} | documented == VARIABLES


def test_a_misspelt_variable_is_told_once_with_what_it_may_mean(
    caplog: pytest.LogCaptureFixture,
) -> None:
    environ = {"BOARDD_ADRESS": "unix:/x", "BOARDD_OF_ANOTHER_PROGRAM": "1", "PATH": "/bin"}
    for _ in range(2):
        Settings.from_environ(environ)
    assert [record.getMessage() for record in caplog.records] == [
        "boardd: ignoring BOARDD_ADRESS: did you mean BOARDD_ADDRESS?"
    ]
    assert misspelt(["BOARDD_TOKENFILE", "BOARDD_TOKEN"]) == {
        "BOARDD_TOKENFILE": "BOARDD_TOKEN_FILE"
    }


@pytest.mark.usefixtures("no_autostart")
def test_a_writer_shows_its_run_its_address_and_its_state(scripted: ScriptedDaemon) -> None:
    sw = writer(scripted, run="a")
    named = f"<SummaryWriter '/logs/a' at {scripted.address}: "
    assert repr(sw) == f"{named}nothing logged>"
    scripted.acknowledges = False
    sw.add_scalar("loss", 1.0, 1)
    assert repr(sw) == f"{named}1 record not written yet>"
    scripted.acknowledges = True
    sw.add_scalar("loss", 1.0, 2)
    assert sw.flush(timeout=60)
    assert repr(sw) == f"{named}all written>"
    sw.close()
    assert repr(sw) == f"{named}closed>"


TRIES = """
import sys
from boardd_client import SummaryWriter
sw = SummaryWriter("logs", address=sys.argv[1])
sw.add_scalar("loss", 1.0, 1)
while "not signed by the authority" not in sw.flush(timeout=0.2).reason:
    pass
sw.close(timeout=0)
"""


def test_grpc_says_nothing_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    authority, _ = self_signed_certificate(tmp_path / "other")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*self_signed_certificate(tmp_path))
    with socket.create_server(("localhost", 0)) as listener:
        threading.Thread(target=shake_hands, args=(listener, context), daemon=True).start()
        done = subprocess.run(
            [sys.executable, "-c", TRIES, f"localhost:{listener.getsockname()[1]}"],
            env={
                "PYTHONPATH": ":".join(sys.path),
                "BOARDD_TLS_CA": str(authority),
                "BOARDD_EXIT_TIMEOUT_SECS": "0",
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert [line for line in lines if not line.startswith("boardd: ")] == []
    assert any("BOARDD_TLS_CA" in line for line in lines)


def shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            context.wrap_socket(connection, server_side=True).recv(1)
