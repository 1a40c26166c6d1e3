"""The units are valid, say what the daemon understands, and confine it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from boardd.errors import ExitCode
from boardd.settings.config import OPTIONS, Config
from boardd.settings.sources import default_file
from boardd_protos.address import default_address
from boardd_protos.local_socket import HANDOVER_SUFFIX
from support.tools import require_program, require_root

DEPLOY = Path(__file__).parents[2] / "deploy" / "systemd"
USER, SYSTEM = "user", "system"
WHOSE = pytest.mark.parametrize("whose", [USER, SYSTEM])

#: What ``systemd-analyze security`` may call the exposure of the system's service, of 10.
MAX_EXPOSURE = 2.5
#: That of a user's, who may have no user namespaces to hide anything with.
MAX_USER_EXPOSURE = 6.5
DOCUMENT = (DEPLOY.parents[1] / "docs" / "deploying.md").read_text()


def settings(whose: str, name: str, unit: str = "boardd.service") -> list[str]:
    """The values of a directive of a unit."""
    text = (DEPLOY / whose / unit).read_text()
    return re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)


def environment(whose: str) -> dict[str, str]:
    return dict(item.split("=", 1) for item in settings(whose, "Environment"))


def run(*command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    require_program(command[0])
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **environ},
    )


def verify(whose: str, home: Path, good: str = "", bad: str = "") -> tuple[int, str]:
    """What systemd says of both units, with ``bad`` in place of ``good``, and the exit code."""
    directory = home / "units"
    directory.mkdir()
    program = Path(sys.executable).with_name("boardd")
    replaced = 0
    for path in (DEPLOY / whose).glob("boardd.s*[te]"):
        text = path.read_text().replace("/opt/boardd/bin/boardd", str(program))
        replaced += text.count(good)
        (directory / path.name).write_text(text.replace(good, bad) if good else text)
    assert replaced
    units = sorted(map(str, directory.iterdir()))
    assert len(units) == 2
    result = run("systemd-analyze", f"--{whose}", "verify", *units, HOME=str(home))
    return result.returncode, result.stdout + result.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory with the daemon where the user's unit expects it."""
    (command,) = settings(USER, "ExecStart")
    path = tmp_path / "home" / command.removeprefix("%h/")
    path.parent.mkdir(parents=True)
    path.symlink_to(Path(sys.executable).with_name("boardd"))
    return tmp_path / "home"


@WHOSE
def test_systemd_accepts_the_units(whose: str, home: Path) -> None:
    # It exits with 0 also when it ignores a directive, and says so.
    assert verify(whose, home) == (0, "")


@pytest.mark.parametrize(
    ("whose", "good", "bad"),
    [
        (USER, "NoNewPrivileges=", "NoNewPriviledges="),
        (USER, "/bin/boardd", "/bin/no-such-program"),
        (USER, "ListenSequentialPacket=", "ListenSequentialPackets="),
        (SYSTEM, "Type=notify", "Type=notfy"),
        (SYSTEM, "SystemCallFilter=@system-service", "SystemCallFilter=@no-such-set"),
    ],
)
def test_systemd_would_say_what_is_wrong(whose: str, good: str, bad: str, home: Path) -> None:
    assert verify(whose, home, good, bad)[1]


@WHOSE
def test_the_unit_agrees_with_the_daemon(whose: str) -> None:
    variables = {option.variable for option in OPTIONS}
    assert set(environment(whose)) <= variables | {"NUMBA_CACHE_DIR", "XDG_CONFIG_HOME"}
    (directory,) = settings(whose, "RuntimeDirectory")
    assert settings(whose, "RuntimeDirectoryMode") == ["0700"]
    (prevented,) = settings(whose, "RestartPreventExitStatus")
    assert prevented.split() == [str(int(ExitCode.USAGE)), str(int(ExitCode.ADDRESS_TAKEN))]
    (stop_secs,) = settings(whose, "TimeoutStopSec")
    assert float(stop_secs) > Config().drain_secs + 5, "a daemon that still writes is not killed"
    if whose == USER:  # where clients look: %t is XDG_RUNTIME_DIR
        runtime, path = os.environ["XDG_RUNTIME_DIR"], default_address().path
        assert path.parent == Path(runtime, directory)
    else:
        runtime, path = "/run", Path(environment(whose)["BOARDD_SOCKET"])
        assert path.parent == Path(runtime, directory)
    sockets = [
        settings(whose, name, "boardd.socket")[0].replace("%t", runtime)
        for name in ("ListenStream", "ListenSequentialPacket")
    ]
    assert sockets == [str(path), f"{path}{HANDOVER_SUFFIX}"], "activation finds both"


def test_the_services_read_the_settings_file_that_is_documented() -> None:
    assert default_file(environment(SYSTEM)) == Path("/etc/boardd/config.toml")
    assert "`/etc/boardd/config.toml`" in DOCUMENT
    assert default_file({"HOME": "/home/ann", **environment(USER)}) is not None


@WHOSE
def test_training_goes_first(whose: str) -> None:
    for name in ("CPUWeight", "IOWeight"):
        (weight,) = map(int, settings(whose, name))
        assert weight < 100, "others have 100"
    (watchdog_secs,) = map(int, settings(whose, "WatchdogSec"))
    assert watchdog_secs > 0


def exposure(directory: Path, unit: str) -> float:
    """What ``systemd-analyze security`` calls the exposure of a unit with this text, of 10."""
    path = directory / "boardd.service"
    path.write_text(unit)
    said = run("systemd-analyze", "security", "--offline=yes", str(path)).stdout
    (found,) = re.findall(r"exposure level for boardd\.service: (\S+)", said)
    return float(found)


def test_the_services_are_confined_as_the_document_says(tmp_path: Path) -> None:
    user, system = ((DEPLOY / whose / "boardd.service").read_text() for whose in (USER, SYSTEM))
    (further,) = re.findall(r"```ini\n(\[Service\]\n[^`]*?ProtectSystem=[^`]*)```", DOCUMENT)
    said = re.search(
        r"says (\S+) of 10 of it, and (\S+) of the.* which makes it (\S+):", DOCUMENT, re.DOTALL
    )
    assert said
    units = (user, system, f"{user}\n{further}")
    for unit, number in zip(units, said.groups(), strict=True):
        # Each version of systemd weighs a little differently.
        assert exposure(tmp_path, unit) == pytest.approx(float(number), abs=0.3)
    assert exposure(tmp_path, system) <= MAX_EXPOSURE
    assert exposure(tmp_path, user) <= MAX_USER_EXPOSURE
    open_to_all = re.sub(r"(?m)^(Protect|Private|Restrict).*\n", "", system)
    assert exposure(tmp_path, open_to_all) > MAX_EXPOSURE


def test_the_user_of_the_system_service_is_made(tmp_path: Path) -> None:
    require_root()
    (tmp_path / "etc").mkdir()
    (user,) = settings(SYSTEM, "User")
    (owner,) = settings(SYSTEM, "SocketUser", "boardd.socket")
    result = run("systemd-sysusers", f"--root={tmp_path}", str(DEPLOY / SYSTEM / "boardd.sysusers"))
    assert result.returncode == 0, result.stderr
    assert user == owner
    assert re.search(rf"^{user}:x:\d+:", (tmp_path / "etc/passwd").read_text(), re.MULTILINE)
    rules = DEPLOY / SYSTEM / "boardd.tmpfiles"
    result = run("systemd-tmpfiles", "--create", f"--root={tmp_path}", str(rules))
    assert result.returncode == 0, result.stderr
    directory = tmp_path / Path(environment(SYSTEM)["BOARDD_SOCKET"]).parent.relative_to("/")
    assert directory.stat().st_mode & 0o777 == 0o700
