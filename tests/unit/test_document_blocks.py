"""Every command and every piece of Python in the documents is run by a test, or says why not."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from boardd import cli
from support.documents import (
    CODE_SPAN,
    CONSOLE,
    DOCUMENTS,
    FENCED,
    PYTHON,
    ROOT,
    SHELL,
    Block,
    blocks,
    missing_citations,
)

SNIPPETS = "e2e/test_document_snippets.py"
PRINTED = "e2e/test_document_commands.py"
#: Documents whose commands and Python one test runs, block by block as they are printed.
WHOLE = {
    "docs/getting-started.md": f"{PRINTED}::test_the_first_log",
    "docs/deploying.md": "e2e/test_deploying_document.py::test_the_steps_run_as_they_are_printed",
}
#: Python, by its document and first line: the test that runs it, or the same calls with the same
#: arguments.
CODE = {
    ("README.md", "from boardd_client import SummaryWriter"): "e2e/test_readme.py",
    ("README.md", "import mxnet as mx"): "e2e/test_readme.py",
    # It starts a cluster.
    ("docs/integrations.md", "boardd_client.hooks.ray"): "e2e/test_hooks_ray.py",
    ("docs/integrations.md", ""): SNIPPETS,
    ("docs/hooks.md", ""): SNIPPETS,
    ("docs/health.md", ""): SNIPPETS,
    ("docs/multi-worker.md", ""): SNIPPETS,
    ("docs/system-metrics.md", ""): SNIPPETS,
}
#: Commands, by their beginning: the test that runs them or the same with other arguments.
COMMANDS = {
    "pip install . tensorboard": "e2e/test_environments.py::test_the_plain_install_logs",
    "tensorboard --logdir logs": "e2e/test_tensorboard_pages.py",
    "boardd status": f"{PRINTED}::test_what_a_console_shows",
    "boardd top": f"{PRINTED}::test_what_a_console_shows",
    "boardd doctor": f"{PRINTED}::test_what_a_console_shows",
    "boardd config --nice 5": f"{PRINTED}::test_what_a_console_shows",
    "boardd view": f"{PRINTED}::test_the_first_log",
    "boardd merge logs/run": f"{PRINTED}::test_event_files_are_merged",
    "boardd merge host0/tb host1/tb": f"{PRINTED}::test_event_files_are_merged",
    "boardd --metrics": "e2e/test_metrics.py",
    "boardd --listen": f"{PRINTED}::test_settings_of_several_hosts",
    "boardd --forward-to": f"{PRINTED}::test_settings_of_several_hosts",
    "python examples/normal.py": "e2e/test_demo.py",
    "python examples/mnist.py": "e2e/test_demo.py",
    "python examples/filters.py": "e2e/test_example_filters.py",
    "python examples/embedding.py": "e2e/test_example_embedding.py",
    "python examples/mxnet_dist_sync.py": "e2e/test_mxnet_dist_sync.py",
    "python examples/torch_ddp.py": "e2e/test_torch_ddp.py",
    "python examples/straggler.py": "e2e/test_straggler.py",
    # Of those that run for minutes to hours, whether make knows them and all that they call.
    "make": "unit/test_document_blocks.py::test_make_knows_the_target",
}
#: Commands, by their beginning, that no test can run, and why.
NOT_HERE = {
    "python benchmarks/": "measures for minutes to hours, on a machine where nothing else runs",
    "python3 benchmarks/peers.py": "installs 7 GB of other loggers and measures them for a quarter "
    "of an hour",
}
#: What is no command: settings, pictures of characters, and what builds the site.
OTHER = {"diff", "ini", "text", "toml", "yaml"}
DIRECTIVE = re.compile(r"\{[\w-]+\}.*")
INDENTED = re.compile(r"(?<=\n\n) {4}\S.*")


def bare(command: str) -> str:
    """A command without its comment."""
    return re.split(r"\s+#", command)[0]


def all_blocks() -> Iterator[Block]:
    for document in DOCUMENTS:
        yield from blocks(document)


def commands() -> list[str]:
    return [
        bare(command)
        for block in all_blocks()
        if block.language in (*SHELL, CONSOLE)
        for command in block.commands()
    ]


def holders(block: Block) -> dict[str, str | None]:
    """What runs each command of a block, or all of its Python; None where nothing does."""
    if block.language == PYTHON:
        holder = next(
            (
                test
                for (document, mark), test in CODE.items()
                if document == block.document and mark in block.first_line
            ),
            None,
        )
        return {block.first_line: WHOLE.get(block.document, holder)}
    if block.language not in (*SHELL, CONSOLE):
        return {}
    return {
        command: WHOLE.get(block.document)
        or next(
            (
                held
                for begin, held in (COMMANDS | NOT_HERE).items()
                if f"{bare(command)} ".startswith(begin if begin.endswith("/") else f"{begin} ")
            ),
            None,
        )
        for command in block.commands()
    }


def faults(document: Path, text: str = "") -> list[str]:
    """What in a document nothing runs, or cannot be told to be a command or none."""
    found = [
        f"nothing runs: {what}"
        for block in blocks(document, text)
        for what, holder in holders(block).items()
        if holder is None
    ]
    text = text or document.read_text()
    known = {*SHELL, CONSOLE, PYTHON, *OTHER}
    found += [
        f"a fence of an unknown language: {language}"
        for language, _ in FENCED.findall(text)
        if language not in known and not DIRECTIVE.fullmatch(language)
    ]
    return found + [
        f"indented, not fenced: {line}" for line in INDENTED.findall(FENCED.sub("", text))
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_is_run_by_a_test(document: Path) -> None:
    assert faults(document) == []


@pytest.mark.parametrize(
    "text",
    [
        "```sh\nboardd frobnicate\n```\n",
        "```\nboardd frobnicate\n```\n",
        "```console\n$ boardd frobnicate\ndone\n```\n",
        "```python\nimport frobnicate\n```\n",
        "```fish\nboardd status\n```\n",
        "A\n\n    boardd status\n\nB\n",
    ],
)
def test_a_command_that_nothing_runs_is_seen(text: str) -> None:
    assert len(faults(ROOT / "docs/commands.md", text)) == 1


def test_the_tests_exist_and_every_row_is_of_use() -> None:
    tests = {*WHOLE.values(), *CODE.values(), *COMMANDS.values()}
    assert missing_citations(" ".join(f"`{test}`" for test in tests)) == []
    every = list(all_blocks())
    held = {holder for block in every for holder in holders(block).values()}
    assert {*WHOLE.values(), *CODE.values(), *COMMANDS.values(), *NOT_HERE.values()} == held
    for document, mark in CODE:
        assert any(
            block.document == document and block.language == PYTHON and mark in block.first_line
            for block in every
        ), (document, mark)


@functools.cache
def flags(command: str) -> set[str]:
    """The flags of ``boardd`` (without a command) or of one of its commands, as its help says."""
    shown = io.StringIO()
    with (
        mock.patch.dict(os.environ),  # to which a command adds
        contextlib.redirect_stdout(shown),
        contextlib.suppress(SystemExit),
    ):
        cli.main([*command.split(), "--help"])
    own = set(re.findall(r"--[a-z][a-z-]+", shown.getvalue()))
    return own | flags("") if command == "config" else own


def unknown(command: str) -> set[str]:
    """What a command line of ``boardd`` says that is no command or no flag of it."""
    name = re.match(r"boardd ([a-z]+)\b", command)
    if name is not None and name[1] not in cli.COMMANDS:
        return {name[1]}
    return set(re.findall(r"--[a-z][a-z-]+", command)) - flags(name[1] if name else "")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_flags_exist(document: Path) -> None:
    """Also those within a sentence."""
    said = set(CODE_SPAN.findall(FENCED.sub("", document.read_text())))
    said |= {
        bare(command)
        for block in blocks(document)
        if block.language in (*SHELL, CONSOLE)
        for command in block.commands()
    }
    for command in said:
        if command.startswith("boardd "):
            assert unknown(command) == set(), command


def test_a_command_and_a_flag_that_do_not_exist_are_seen() -> None:
    assert unknown("boardd frobnicate") == {"frobnicate"}
    assert unknown("boardd status --jason") == {"--jason"}
    assert unknown("boardd --interval 5") == {"--interval"}
    assert not unknown("boardd top --interval 5")


@pytest.mark.parametrize(
    "command", sorted({each for each in commands() if each.startswith("make ")})
)
def test_make_knows_the_target(command: str) -> None:
    """Without running anything: its rules and those that they call are there."""
    done = subprocess.run(
        [*command.split(), "--dry-run"],
        cwd=ROOT,
        # Not those of the make that runs the tests.
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command",
    sorted({each for each in commands() if re.match(r"python3? (examples|benchmarks)/", each)}),
)
def test_a_script_and_its_flags_exist(command: str) -> None:
    script, *arguments = command.split()[1:]
    source = (ROOT / script).read_text()
    for flag in re.findall(r"--[\w-]+", " ".join(arguments)):
        assert f'"{flag}"' in source, flag
