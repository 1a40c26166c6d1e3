"""The unit and the container file are valid, and say what the daemon understands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from boardd.errors import ExitCode
from boardd.settings.config import OPTIONS, Config
from boardd_protos.address import default_address
from support.environments import BUILD_FILES, PACKAGES
from support.tools import require_program

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "boardd.service"
CONTAINERFILE = DEPLOY / "Containerfile"
README = DEPLOY / "README.md"
SOURCE = DEPLOY.parent

VARIABLES = {option.variable for option in OPTIONS}
FLAGS = {option.flag for option in OPTIONS}


def unit_settings(name: str) -> list[str]:
    """The values of a directive of the unit."""
    return re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)


def verify(unit: Path, home: Path) -> subprocess.CompletedProcess[str]:
    require_program("systemd-analyze")
    return subprocess.run(
        ["systemd-analyze", "--user", "verify", str(unit)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "HOME": str(home)},
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory with the daemon where the unit expects it."""
    (command,) = unit_settings("ExecStart")
    path = tmp_path / "home" / command.removeprefix("%h/")
    path.parent.mkdir(parents=True)
    path.symlink_to(Path(sys.executable).with_name("boardd"))
    return tmp_path / "home"


def test_systemd_accepts_the_unit(home: Path) -> None:
    result = verify(UNIT, home)
    # It exits with 0 also when it ignores a directive, and says so.
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("NoNewPrivileges=", "NoNewPriviledges="),
        ("Type=notify", "Type=notfy"),
        ("SystemCallFilter=@system-service", "SystemCallFilter=@no-such-set"),
        ("/bin/boardd", "/bin/no-such-program"),
    ],
)
def test_systemd_would_say_what_is_wrong_with_the_unit(
    good: str, bad: str, home: Path, tmp_path: Path
) -> None:
    assert good in UNIT.read_text()
    broken = tmp_path / "boardd.service"
    broken.write_text(UNIT.read_text().replace(good, bad))
    assert verify(broken, home).stderr


def test_the_unit_agrees_with_the_daemon() -> None:
    for setting in unit_settings("Environment"):
        assert setting.partition("=")[0] in VARIABLES
    # Where clients look: %t is XDG_RUNTIME_DIR.
    (directory,) = unit_settings("RuntimeDirectory")
    assert default_address().path.parent == Path(os.environ["XDG_RUNTIME_DIR"], directory)
    assert unit_settings("RuntimeDirectoryMode") == ["0700"]
    (prevented,) = unit_settings("RestartPreventExitStatus")
    assert prevented.split() == [str(int(ExitCode.USAGE)), str(int(ExitCode.ADDRESS_TAKEN))]
    (stop_secs,) = unit_settings("TimeoutStopSec")
    assert float(stop_secs) > Config().drain_secs + 5, "a daemon that still writes is not killed"


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
    assert f"--listen 0.0.0.0:{port} " in README.read_text()
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


def test_the_steps_name_flags_and_files_that_exist() -> None:
    text = README.read_text()
    tools = {"--user", "--now", "--userns", "--read-only", "--cap-drop", "--name", "--tmpfs"}
    tools |= {"--stop-timeout", "--build-arg"}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    assert named - tools <= FLAGS | {"--help"}
    assert {"--listen", "--token-file", "--tls-cert", "--tls-key", "--drain-secs"} <= named
    for path in re.findall(r"deploy/[\w.]+", text):
        assert (SOURCE / path).exists(), path
    codes = [int(code) for code in re.findall(r"^\| (\d) \|", text, re.MULTILINE)]
    assert codes == sorted(map(int, ExitCode))
    (command,) = unit_settings("ExecStart")
    assert command.replace("%h", "~") in text
