"""``docs/commands.md`` and ``boardd --help`` name every command and every flag there is."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
from pathlib import Path

import pytest
from boardd.cli import COMMANDS
from boardd.commands.status_text import to_json
from boardd.settings.arguments import argument_parser
from boardd_protos import __version__
from boardd_protos import boardd_pb2 as pb

DOCUMENTS = Path(__file__).parents[4] / "docs"
TEXT = (DOCUMENTS / "commands.md").read_text()

#: Of a command that is documented elsewhere.
ELSEWHERE = {"config": "configuration.md", "merge": "multi-worker.md"}


def test_every_command_has_one_line() -> None:
    told = re.findall(r"^  boardd (\w+)  +\S", argument_parser().format_help(), re.M)
    documented = re.findall(r"^\| \[`boardd (\w+)`\]", TEXT, re.M)
    assert sorted(told) == sorted(documented) == sorted(COMMANDS)


def test_what_commands_print_names_this_version() -> None:
    told = re.findall(r"\bboardd (\d+\.\d+\.\d+)", TEXT)
    assert len(told) > 2
    assert set(told) == {__version__}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_is_documented(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = importlib.import_module(f"boardd.commands.{command}").run
    with contextlib.suppress(SystemExit):
        run(["--help"], {})
    flags = set(re.findall(r"--[a-z][a-z-]+", capsys.readouterr().out)) - {"--help", "--version"}
    text = (DOCUMENTS / ELSEWHERE[command]).read_text() if command in ELSEWHERE else TEXT
    assert {flag for flag in flags if flag not in text} == set()


def test_the_names_of_the_json_that_are_documented_are_there() -> None:
    run = pb.RunStatus(path="/r", group=pb.GroupStatus(ranks=1))
    reply = pb.StatusReply(
        sessions=[pb.SessionStatus(client_version="0.2.0")],
        runs=[run],
        refused_runs=[pb.RefusedRun(path="/s")],
        stores=[pb.StoreStatus(url="s3://b")],
        counters=pb.Counters(rejected=[pb.RejectCount(records=1)]),
    )
    table = TEXT.partition("The most used:")[2].partition("## ")[0]
    first_cells = "".join(re.findall(r"^\| (`.*?) \|", table, re.M))
    names = re.findall(r"`([^`]+)`", first_cells)
    assert len(names) > 15
    for name in names:
        found = json.loads(to_json(reply))
        for step in name.split("."):
            found = found[step.removesuffix("[]")]
            if step.endswith("[]"):
                found = found[0]
