"""Every command and every piece of Python in the documents is run by a test, or says why not."""

from __future__ import annotations

import ast
import contextlib
import functools
import io
import os
import re
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from unittest import mock

import pytest
from boardd import cli
from support.documents import (
    CONSOLE,
    DOCUMENTS,
    FENCED,
    PYTHON,
    ROOT,
    SHELL,
    Block,
    blocks,
    missing_citations,
    paragraphs,
    spans,
)

PRINTED = "e2e/test_document_commands.py"
INSTALLED = "e2e/test_environments.py"
#: Tests that take blocks as they are printed, by their document and beginning.
TAKERS = ("e2e/test_document_snippets.py", PRINTED, "e2e/test_readme.py")
#: Documents of which one test runs all blocks of these languages, and lets there be no others.
WHOLE = {
    "docs/getting-started.md": (f"{PRINTED}::test_the_first_log", {"sh", CONSOLE, PYTHON}),
    "docs/deploying.md": (
        "e2e/test_deploying_document.py::test_the_steps_run_as_they_are_printed",
        {"sh"},
    ),
}
#: Other Python, by its document and beginning: the test of the same calls with the same arguments.
CODE = {
    # It starts a cluster.
    ("docs/integrations.md", "from boardd_client.hooks.ray"): "e2e/test_hooks_ray.py",
    # It takes a store.
    ("docs/remote-logdirs.md", "from boardd_client"): "e2e/test_remote_logdirs.py",
}
#: Commands, by their beginning: the test that runs them or the same with other arguments.
COMMANDS = {
    "pip install .": f"{INSTALLED}::test_the_plain_install_logs",
    "pip install ./deploy/boardd-client": f"{INSTALLED}::"
    "test_the_light_install_is_the_client_and_its_three_packages",
    # ``make setup`` installs all of them for the tests.
    "pip install '.[": "unit/test_document_blocks.py::test_an_extra_exists",
    "tensorboard --logdir": "e2e/test_tensorboard_pages.py",
    "boardd status": f"{PRINTED}::test_what_a_console_shows",
    "boardd top": f"{PRINTED}::test_what_a_console_shows",
    "boardd doctor": f"{PRINTED}::test_what_a_console_shows",
    "boardd config --nice 5": f"{PRINTED}::test_what_a_console_shows",
    "boardd view": f"{PRINTED}::test_the_first_log",
    "boardd view s3:": "e2e/test_remote_logdirs.py",
    "boardd --metrics": "e2e/test_metrics.py",
    "boardd --logdir-root": "e2e/test_remote_logdirs.py",
    "python examples/normal.py": "e2e/test_demo.py",
    "python examples/mnist.py": "e2e/test_demo.py",
    "python examples/filters.py": "e2e/test_example_filters.py",
    "python examples/embedding.py": "e2e/test_example_embedding.py",
    "python examples/mxnet_dist_sync.py": "e2e/test_mxnet_dist_sync.py",
    "python examples/torch_ddp.py": "e2e/test_torch_ddp.py",
    "python examples/straggler.py": "e2e/test_straggler.py",
    "systemd-analyze security": "e2e/test_deploy_systemd.py",
    "make docs": "e2e/test_site.py",
    # Targets set up environments from the network, change the sources, or run the tests: whether
    # make knows them, and all that they call.
    "make": "unit/test_document_blocks.py::test_make_knows_the_target",
}
#: Commands, by their beginning, that no test can run, and why.
NOT_HERE = {
    "pip install boardd": "not until boardd is on PyPI",
    "pip install boardd-client": "not until boardd-client is on PyPI",
    "pip install 'boardd[": "not until boardd is on PyPI",
    "pip install --upgrade boardd": "not until boardd is on PyPI",
    "pipx": "makes an environment of the same wheel that test_environments.py installs",
    "pip uninstall boardd-client": "what pip does, to an environment that other tests use",
    "systemctl": "takes systemd as the first process; test_deploy_systemd.py has the units",
    "loginctl": "takes systemd as the first process",
    "journalctl": "takes systemd as the first process",
    "podman": "takes containers; test_deploy_image.py does what the image's file says",
    "docker": "takes containers",
    "grpcurl": "no package has it; test_service_process.py asks the same",
    "python benchmarks/": "measures for minutes to hours, on a machine where nothing else runs",
    "python3 benchmarks/peers.py": "installs 7 GB of other loggers and measures them for a quarter "
    "of an hour",
}
#: Programs whose commands are held within sentences too.
PROGRAMS = ("pip", "make", "tensorboard", "podman", "docker", "grpcurl")
PROGRAMS += ("systemctl", "loginctl", "journalctl", "systemd-analyze")
#: Flags within sentences that are other programs'.
OTHER_FLAGS = {
    "docs/drop-ins.md": {"--load_fast"},
    "docs/examples.md": {"--pretrained", "--root"},
    "docs/performance.md": {"--quick", "--reload_interval"},
    "docs/system-metrics.md": {"--hf-token", "--max-tokens", "--tokenizer"},
}
#: What is no command: settings, pictures of characters, and what builds the site.
OTHER = {"diff", "ini", "text", "toml", "yaml"}
DIRECTIVE = re.compile(r"\{[\w-]+\}.*")
INDENTED = re.compile(r"(?<=\n\n) {4}\S.*")
#: What a reader would have to put something in place of: ``[--secs N]``, ``<name>``, ``DIR``.
PLACEHOLDER = re.compile(r"(?<!\S)(?:\[.*|<\w.*|…|\.\.\.|[A-Z][A-Z_]+)(?!\S)")
FLAG = re.compile(r"--[a-z][a-z_-]+")


def bare(command: str) -> str:
    """A command without its comment."""
    return re.split(r"\s+#", command)[0]


def all_blocks() -> Iterator[Block]:
    for document in DOCUMENTS:
        yield from blocks(document)


def command_spans(text: str) -> list[str]:
    """The commands within the sentences of a document."""
    return [span for span in spans(text) if span.startswith(tuple(f"{each} " for each in PROGRAMS))]


def commands() -> list[str]:
    found = [
        bare(command)
        for block in all_blocks()
        if block.language in (*SHELL, CONSOLE)
        for command in block.commands()
    ]
    return found + [span for document in DOCUMENTS for span in command_spans(document.read_text())]


@functools.cache
def taken() -> dict[tuple[str, str], str]:
    """The tests that take blocks as they are printed, by the block's document and beginning."""
    found = dict(CODE)
    for path in TAKERS:
        tree = ast.parse((ROOT / "tests" / path).read_text())
        constants = {
            node.targets[0].id: node.value.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant)
        }
        for test in tree.body:
            if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
                for call in ast.walk(test):
                    if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("printed"):
                        document, beginning = (
                            constants[each.id] if isinstance(each, ast.Name) else each.value
                            for each in call.args[:2]
                            if isinstance(each, (ast.Name, ast.Constant))
                        )
                        found[str(document), str(beginning)] = f"{path}::{test.name}"
    return found


def row(command: str) -> str:
    """The beginning by which the tables have a command, the longest; "" where they do not."""
    begins = (
        begin
        for begin in COMMANDS | NOT_HERE
        if f"{command} ".startswith(begin if begin[-1] in "/[:" else f"{begin} ")
    )
    return max(begins, key=len, default="")


def holder(command: str) -> str | None:
    """The test that runs a command, or why none does; None where nothing is said."""
    return (COMMANDS | NOT_HERE).get(row(command))


def holders(block: Block) -> dict[str, str | None]:
    """What runs each command of a block, or all of its Python; None where nothing does."""
    if block.language not in (*SHELL, CONSOLE, PYTHON):
        return {}
    pieces = [block.first_line] if block.language == PYTHON else block.commands()
    test, languages = WHOLE.get(block.document, ("", set()))
    if block.language in languages:
        return dict.fromkeys(pieces, test)
    for (document, beginning), taker in taken().items():
        if document == block.document and block.text.startswith(beginning):
            return dict.fromkeys(pieces, taker)
    if block.language == PYTHON:
        return dict.fromkeys(pieces)
    return {command: holder(bare(command)) for command in pieces}


def faults(document: Path, text: str = "") -> list[str]:
    """What in a document no test runs, no reader can run, or is not known to be a command."""
    text = text or document.read_text()
    found = blocks(document, text)
    held = [piece for block in found for piece in holders(block).items()]
    held += [(span, holder(span)) for span in command_spans(text)]
    known = {*SHELL, CONSOLE, PYTHON, *OTHER}
    return [
        *(f"nothing runs: {what}" for what, test in held if test is None),
        *(
            f"a placeholder: {command}"
            for block in found
            if block.language in (*SHELL, CONSOLE)
            for command in map(bare, block.commands())
            if PLACEHOLDER.search(command)
        ),
        *(
            f"a fence of an unknown language: {language}"
            for language, _ in FENCED.findall(text)
            if language not in known and not DIRECTIVE.fullmatch(language)
        ),
        *(f"indented, not fenced: {line}" for line in INDENTED.findall(FENCED.sub("", text))),
        *(f"a backtick alone: {each}" for each in paragraphs(text) if each.count("`") % 2),
    ]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_is_run_by_a_test(document: Path) -> None:
    assert faults(document) == []


PYTHON_FENCE = "```python\nimport frobnicate\n```\n"
CONSOLE_FENCE = "```console\n$ boardd frobnicate\ndone\n```\n"


@pytest.mark.parametrize(
    "text",
    [
        "```sh\nboardd frobnicate\n```\n",
        "```\nboardd frobnicate\n```\n",
        CONSOLE_FENCE,
        PYTHON_FENCE,
        "```fish\nboardd status\n```\n",
        "```sh\npython benchmarks/soak.py [--secs 60]\n```\n",
        "```sh\npython benchmarks/before_after.py BEFORE\n```\n",
        "A\n\n    boardd status\n\nB\n",
        "Run `pip install frobnicate`.",
        "Run `podman` and then `pip\nlist`.",
        "Run `boardd status.",
    ],
)
def test_a_command_that_nothing_runs_is_seen(text: str) -> None:
    assert len(faults(ROOT / "docs/commands.md", text)) == 1


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_new_block_of_any_document_is_seen(document: Path) -> None:
    """But where a test runs all of them."""
    _, languages = WHOLE.get(str(document.relative_to(ROOT)), ("", set()))
    for language, text in ((PYTHON, PYTHON_FENCE), (CONSOLE, CONSOLE_FENCE)):
        assert bool(faults(document, text)) == (language not in languages)


def test_the_tests_exist_and_every_row_is_of_use() -> None:
    tests = {*(test for test, _ in WHOLE.values()), *taken().values(), *COMMANDS.values()}
    assert missing_citations(" ".join(f"`{test}`" for test in tests)) == []
    assert {row(command) for command in commands()} - {""} == {*COMMANDS, *NOT_HERE}
    every = list(all_blocks())
    for document, beginning in taken():
        (_,) = (
            block
            for block in every
            if block.document == document and block.text.startswith(beginning)
        )


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
    own = set(FLAG.findall(shown.getvalue()))
    return own | flags("") if command == "config" else own


def unknown(command: str) -> set[str]:
    """What a command line of ``boardd`` says that is no command or no flag of it."""
    name = re.match(r"boardd ([a-z]+)\b", command)
    if name is not None and name[1] not in cli.COMMANDS:
        return {name[1]}
    return set(FLAG.findall(command)) - flags(name[1] if name else "")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_flags_exist(document: Path) -> None:
    """Also those within a sentence."""
    said = set(spans(document.read_text()))
    said |= {
        bare(command)
        for block in blocks(document)
        if block.language in (*SHELL, CONSOLE)
        for command in block.commands()
    }
    for command in said:
        if command.startswith("boardd "):
            assert unknown(command) == set(), command


@pytest.mark.parametrize(
    "document", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name
)
def test_flags_within_sentences_exist(document: Path) -> None:
    """Each is one of the daemon or of a command; ``test_deploying_document.py`` has the others."""
    name = str(document.relative_to(ROOT))
    known = set().union(*map(flags, ("", *cli.COMMANDS)), OTHER_FLAGS.get(name, set()))
    said = {
        flag
        for span in spans(document.read_text())
        if span.startswith("--")
        for flag in FLAG.findall(span)
    }
    if name not in WHOLE:
        assert said <= known
    assert OTHER_FLAGS.get(name, set()) <= said


def test_a_command_and_a_flag_that_do_not_exist_are_seen() -> None:
    assert unknown("boardd frobnicate") == {"frobnicate"}
    assert unknown("boardd status --jason") == {"--jason"}
    assert unknown("boardd --interval 5") == {"--interval"}
    assert not unknown("boardd top --interval 5")


def extras(command: str) -> set[str]:
    """The extras that a command installs."""
    return {extra for found in re.findall(r"\[([\w,]+)\]", command) for extra in found.split(",")}


@pytest.mark.parametrize(
    "command", sorted({each for each in commands() if each.startswith("pip install ")})
)
def test_an_extra_exists(command: str) -> None:
    assert extras(command) <= set(metadata.metadata("boardd").get_all("Provides-Extra"))


def test_each_extra_of_a_command_is_seen() -> None:
    assert extras("pip install '.[mxnet,frobnicate]'") == {"mxnet", "frobnicate"}


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
