"""The steps of docs/deploying.md name what there is."""

from __future__ import annotations

import filecmp
import os
import re
import shlex
import subprocess
from pathlib import Path

from boardd.errors import ExitCode
from boardd.settings.config import OPTIONS
from support.documents import blocks

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


#: Programs that a test cannot run, each in the place of its real one: they note what they were
#: called with, and fail if a file of ours that they are given is not there.
STAND_IN = """#!/bin/sh
echo "${0##*/} $*" >> "$CALLS"
for argument; do
  case "$argument" in deploy/*) test -f "$argument" || exit 1 ;; esac
done
"""
STAND_INS = {
    **dict.fromkeys(
        ("docker", "kubectl", "podman", "systemctl", "systemd-sysusers", "systemd-tmpfiles"),
        STAND_IN,
    ),
    "sudo": '#!/bin/sh\nexec "$@"\n',
    # Of an environment, no more than its pip, which installs the source directory.
    "python3": """#!/bin/sh
[ "$1 $2" = "-m venv" ] && mkdir -p "$3/bin" && cp "${0%/*}/pip" "$3/bin/pip"
""",
    "pip": '#!/bin/sh\n[ "$*" = "install ." ] && test -f pyproject.toml\n',
}
#: Where a host that has systemd takes files from.
DIRECTORIES = ("etc/systemd/system", "etc/sysusers.d", "etc/tmpfiles.d", "etc/slurm", "opt")


def commands() -> list[list[str]]:
    """The commands of all shell blocks, continued lines joined."""
    return [
        shlex.split(command, comments=True)
        for block in blocks(SOURCE / "docs" / "deploying.md")
        for command in block.commands()
        if block.language == "sh"
    ]


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


def test_the_steps_run_as_they_are_printed(tmp_path: Path, runtime_directory: Path) -> None:
    """All of them, one after the other, beneath a directory in place of ``/etc`` and ``/opt``."""
    programs = tmp_path / "programs"
    source, home, calls = (tmp_path / name for name in ("source", "home", "calls"))
    for directory in (programs, source, home, *(tmp_path / name for name in DIRECTORIES)):
        directory.mkdir(parents=True)
    for name, text in STAND_INS.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    for name in ("deploy", "pyproject.toml"):
        (source / name).symlink_to(SOURCE / name)
    printed = blocks(SOURCE / "docs" / "deploying.md")
    assert {block.language for block in printed} == {"sh", "ini"}  # the latter are settings
    steps = "".join(block.text for block in printed if block.language == "sh")
    done = subprocess.run(
        ["bash", "-euxo", "pipefail", "-c", re.sub(r"(?<=\s)/(?=etc|opt)", f"{tmp_path}/", steps)],
        cwd=source,
        env={
            **os.environ,
            "HOME": str(home),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "CALLS": str(calls),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for installed, ours in {
        home / ".config/systemd/user/boardd.service": "systemd/user/boardd.service",
        home / ".config/systemd/user/boardd.socket": "systemd/user/boardd.socket",
        tmp_path / "etc/systemd/system/boardd.service": "systemd/system/boardd.service",
        tmp_path / "etc/systemd/system/boardd.socket": "systemd/system/boardd.socket",
        tmp_path / "etc/sysusers.d/boardd.conf": "systemd/system/boardd.sysusers",
        tmp_path / "etc/tmpfiles.d/boardd.conf": "systemd/system/boardd.tmpfiles",
        tmp_path / "etc/boardd/slurm.sh": "slurm/settings.sh",
        tmp_path / "etc/slurm/boardd/prolog.sh": "slurm/prolog.sh",
        tmp_path / "etc/slurm/boardd/task-prolog.sh": "slurm/task-prolog.sh",
        tmp_path / "etc/slurm/boardd/epilog.sh": "slurm/epilog.sh",
    }.items():
        assert filecmp.cmp(installed, SOURCE / "deploy" / ours, shallow=False), installed
    assert (tmp_path / "etc/boardd/boardd.env").read_text() == "BOARDD_LISTEN=127.0.0.1:7654\n"
    token = source / "token"
    assert (token.stat().st_mode & 0o777, len(token.read_text())) == (0o600, 65)
    assert (runtime_directory / "boardd").stat().st_mode & 0o777 == 0o700
    assert calls.read_text().splitlines()[0] == "systemctl --user daemon-reload"
    called = {line.split()[0] for line in calls.read_text().splitlines()}
    assert called == {name for name, text in STAND_INS.items() if text == STAND_IN}
