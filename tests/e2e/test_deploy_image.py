"""The container file is valid, and says what the daemon understands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from boardd.settings.config import OPTIONS
from support.environments import BUILD_FILES, PACKAGES

DEPLOY = Path(__file__).parents[2] / "deploy"
CONTAINERFILE = DEPLOY / "Containerfile"
SOURCE = DEPLOY.parent
DOCUMENT = SOURCE / "docs" / "deploying.md"

VARIABLES = {option.variable for option in OPTIONS}


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """The instructions of the container file: (name, arguments), continued lines joined."""
    text = re.sub(r"^\s*#.*\n", "", CONTAINERFILE.read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines if line)]


def arguments(instructions: list[tuple[str, str]], name: str) -> list[str]:
    return [rest for found, rest in instructions if found == name]


def test_the_container_file_is_made_of_known_instructions(
    instructions: list[tuple[str, str]],
) -> None:
    known = {"FROM", "ARG", "RUN", "COPY", "ENV", "USER", "WORKDIR", "VOLUME", "EXPOSE"}
    known |= {"STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT"}
    assert {name for name, _ in instructions} <= known
    assert instructions[0][0] == "FROM"


def test_the_image_is_pinned_and_not_run_as_root(instructions: list[tuple[str, str]]) -> None:
    for base in arguments(instructions, "FROM"):
        image = base.split()[0]
        assert re.fullmatch(r"docker\.io/library/python:3\.11-slim-\w+", image), image
    last_stage = instructions[
        max(n for n, (name, _) in enumerate(instructions) if name == "FROM") :
    ]
    assert arguments(last_stage, "USER") == ["$UID"]
    (uid,) = (text for text in arguments(last_stage, "ARG") if text.startswith("UID="))
    assert int(uid.removeprefix("UID=")) > 0
    after_user = last_stage[[name for name, _ in last_stage].index("USER") :]
    assert "ENTRYPOINT" in [name for name, _ in after_user]


def test_the_image_starts_the_daemon_so_that_signals_reach_it(
    instructions: list[tuple[str, str]],
) -> None:
    assert arguments(instructions, "ENTRYPOINT") == ['["boardd"]'], "no shell in between"
    assert arguments(instructions, "STOPSIGNAL") == ["SIGTERM"]
    (check,) = arguments(instructions, "HEALTHCHECK")
    assert check.endswith('CMD ["boardd", "status"]')


def test_the_image_agrees_with_the_daemon(instructions: list[tuple[str, str]]) -> None:
    environ = dict(re.findall(r"(\w+)=(\S+)", " ".join(arguments(instructions, "ENV"))))
    assert {name for name in environ if name.startswith("BOARDD_")} <= VARIABLES
    assert arguments(instructions, "VOLUME") == [environ["BOARDD_LOGDIR_ROOT"]]
    (port,) = arguments(instructions, "EXPOSE")
    assert f"--listen 0.0.0.0:{port} " in DOCUMENT.read_text()
    runs = " ".join(arguments(instructions, "RUN"))
    directory = Path(environ["BOARDD_SOCKET"]).parent
    assert f"-m 0700 {directory}" in runs, "the daemon refuses a directory that others reach"
    assert environ["NUMBA_CACHE_DIR"] in runs


def test_the_image_copies_what_the_package_is_built_from(
    instructions: list[tuple[str, str]],
) -> None:
    """The same files from which other tests build and install it, each to its own place."""
    copied: dict[str, str] = {}
    for copy in arguments(instructions, "COPY"):
        if not copy.startswith("--from"):
            *names, target = copy.split()
            copied.update((name, name if target == "./" else target) for name in names)
    assert copied == {name: name for name in (*PACKAGES, *BUILD_FILES)}
    assert any(run.endswith("--no-cache-dir .") for run in arguments(instructions, "RUN"))
