"""The steps of docs/deploying.md name what there is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from boardd.errors import ExitCode
from boardd.settings.config import OPTIONS

SOURCE = Path(__file__).parents[2]
TEXT = (SOURCE / "docs" / "deploying.md").read_text()

VARIABLES = {option.variable for option in OPTIONS}
FLAGS = {option.flag for option in OPTIONS}
#: Flags of other programs.
TOOLS = {
    *("--user", "--now", "--userns", "--read-only", "--cap-drop", "--name", "--tmpfs", "--create"),
    *("--stop-timeout", "--build-arg", "--build", "--format"),
}
#: Variables of the client.
CLIENT_VARIABLES = {
    *("BOARDD_ADDRESS", "BOARDD_TOKEN", "BOARDD_TOKEN_FILE", "BOARDD_TLS_CA"),
    *("BOARDD_TLS_CLIENT_CERT", "BOARDD_TLS_CLIENT_KEY"),
}


def commands() -> list[list[str]]:
    """The commands of all shell blocks, continued lines joined."""
    found = []
    for block in re.findall(r"^```sh\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            found.append(shlex.split(line, comments=True))
    return found


def test_flags_and_variables_exist() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", TEXT))
    assert named - TOOLS <= FLAGS | {"--help"}
    assert {"--listen", "--token-file", "--tls-cert", "--tls-key", "--drain-secs"} <= named
    named = set(re.findall(r"BOARDD_[A-Z_]+", TEXT))
    assert named <= VARIABLES | CLIENT_VARIABLES


def test_files_exist() -> None:
    paths = re.findall(r"deploy/[\w./-]*\w", TEXT)
    assert len(set(paths)) > 5
    for path in paths:
        assert (SOURCE / path).exists(), path
    copied = {
        argument for command in commands() if "cp" in command[:2] for argument in command[:-1]
    }
    for whose in ("user", "system"):
        units = {f"deploy/systemd/{whose}/{name}" for name in ("boardd.service", "boardd.socket")}
        assert units <= copied


def test_images_are_built_with_their_health_check() -> None:
    """Those of OCI's format have none, and that is what podman makes by default."""
    builds = [command for command in commands() if command[:2] == ["podman", "build"]]
    assert builds
    for command in builds:
        assert command[command.index("--format") + 1] == "docker"


def test_exit_codes_are_the_daemons() -> None:
    codes = [int(code) for code in re.findall(r"^\| (\d) \|", TEXT, re.MULTILINE)]
    assert codes == sorted(map(int, ExitCode))


def test_programs_are_installed_where_the_units_look() -> None:
    for whose in ("user", "system"):
        unit = (SOURCE / "deploy/systemd" / whose / "boardd.service").read_text()
        (program,) = re.findall(r"^ExecStart=(.*)/bin/boardd$", unit, re.MULTILINE)
        assert f"python3 -m venv {program.replace('%h', '~')}\n" in TEXT
