"""Virtual environments that tests install things into.

They lie in the checkout's ``.venv-test``, are built on first use and built
anew when what is required of them changes, and every week, since what is not
pinned should be new; so only the first run of the tests waits for pip.
"""

from __future__ import annotations

import email
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from packaging.requirements import Requirement

REPOSITORY = Path(__file__).resolve().parents[2]
DIRECTORY = REPOSITORY / ".venv-test"
PACKAGES = ("protos", "client", "daemon")
BUILD_FILES = ("pyproject.toml", "README.md", "LICENSE")
#: The client alone, built from the same packages.
CLIENT_PROJECT = Path("deploy", "boardd-client")
#: What a copy of the packages is made without.
CACHES = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")

PIP_TIMEOUT_SECS = 600.0
RUN_TIMEOUT_SECS = 120.0


@dataclass(frozen=True)
class Environment:
    """An interpreter and what is installed beside it."""

    python: Path
    #: By distribution, the version that the index offered when the environment was
    #: built, of those that pip did not install the newest of.
    newer: Mapping[str, str] = field(default_factory=dict)

    def environ(self) -> dict[str, str]:
        """This process's environment without what would leak into another's imports."""
        return {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTHON", "BOARDD_", "VIRTUAL_ENV", "PYTEST_"))
        }

    def run(
        self, *arguments: str, cwd: Path, timeout: float = RUN_TIMEOUT_SECS
    ) -> subprocess.CompletedProcess[str]:
        """Runs the interpreter in ``cwd``, where no packages lie that it would import.

        Raises ``AssertionError`` with its output when it fails.
        """
        done = subprocess.run(
            [str(self.python), *arguments],
            cwd=cwd,
            env=self.environ(),
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, f"{arguments}: exit {done.returncode}\n{done.stderr}"
        return done

    def packages(self, cwd: Path) -> dict[str, str]:
        """Versions of the installed distributions, by name."""
        listed = _pip(self.python, "list", "--format=json", cwd=cwd)
        return {package["name"]: package["version"] for package in json.loads(listed)}

    def requirements(self, cwd: Path) -> list[Requirement]:
        """What the installed distributions require, extras that nothing asked for left out."""
        listed = self.run("-c", _LIST_REQUIREMENTS, cwd=cwd).stdout
        found = map(Requirement, listed.splitlines())
        return [each for each in found if each.marker is None or each.marker.evaluate()]


_LIST_REQUIREMENTS = """
from importlib import metadata
for distribution in metadata.distributions():
    for requirement in distribution.requires or ():
        print(requirement)
"""

THIS = Environment(Path(sys.executable))


def _pip(python: Path, *arguments: str, cwd: Path | None = None) -> str:
    """Runs this environment's pip for ``python``, whose environment has none."""
    command = [sys.executable, "-m", "pip", "--python", str(python), *arguments]
    done = subprocess.run(
        [*command, "--disable-pip-version-check"],
        cwd=cwd,
        env=Environment(python).environ(),
        capture_output=True,
        text=True,
        timeout=PIP_TIMEOUT_SECS,
    )
    assert done.returncode == 0, f"pip {' '.join(arguments)}: exit {done.returncode}\n{done.stderr}"
    return done.stdout


def copy_project(directory: Path, project: Path = Path()) -> Path:
    """Copies what boardd is built from, or boardd-client; returns the copy below ``directory``.

    The checkout stays as it is when the copy is built.
    """
    source = directory / "source"
    if project == CLIENT_PROJECT:
        shutil.copytree(REPOSITORY / project, source, ignore=CACHES)
        return source
    source.mkdir()
    for name in PACKAGES:
        shutil.copytree(REPOSITORY / name, source / name, ignore=CACHES)
    for name in BUILD_FILES:
        shutil.copy(REPOSITORY / name, source / name)
    return source


def build_wheel(source: Path, directory: Path) -> Path:
    """Builds the wheel of a project, or of an sdist, into ``directory``."""
    # Without isolation, by this environment's setuptools: nothing is downloaded.
    how = ("--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(directory))
    _pip(Path(sys.executable), "wheel", *how, str(source))
    (wheel,) = directory.glob("*.whl")
    return wheel


def build_sdist(source: Path, directory: Path) -> Path:
    """Builds the sdist of a project into ``directory``."""
    code = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    THIS.run("-c", code, str(directory), cwd=source)
    (sdist,) = directory.glob("*.tar.gz")
    return sdist


def metadata(wheel: Path) -> bytes:
    """What a wheel declares."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return archive.read(name)


def dependencies(wheel: Path) -> list[str]:
    """The requirements that a wheel declares, extras included."""
    return email.message_from_bytes(metadata(wheel)).get_all("Requires-Dist", [])


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two test runs on one checkout must not build one environment at once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def virtual_environment(
    name: str, requirements: Sequence[str], *, wheel: Path | None = None
) -> Environment:
    """Returns the environment ``name`` with ``requirements``, building it where it is not.

    With ``wheel``, that is installed as well: its dependencies when the environment is
    built, its own code at every call.
    """
    directory = DIRECTORY / name
    python = directory / "bin" / "python"
    complete = directory / "complete.json"
    wanted = hashlib.sha256(
        "\n".join(
            (
                sys.version,
                "without pip",
                time.strftime("%G-W%V"),
                *requirements,
                *(dependencies(wheel) if wheel else ()),
            )
        ).encode()
    ).hexdigest()
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory.with_suffix(".lock")):
        built = json.loads(complete.read_text()) if complete.exists() else {}
        if built.get("wanted") != wanted:
            shutil.rmtree(directory)
            venv.create(directory, symlinks=True)
            project = [str(wheel)] if wheel else []
            _pip(python, "install", "--quiet", "--no-compile", *project, *requirements)
            listed = json.loads(_pip(python, "list", "--outdated", "--format=json"))
            newer = {package["name"]: package["latest_version"] for package in listed}
            built = {"wanted": wanted, "newer": newer}
            complete.write_text(json.dumps(built))
        elif wheel:
            _pip(python, "install", "--quiet", "--no-deps", "--force-reinstall", str(wheel))
    return Environment(python, built["newer"])


def environment_beside_this(name: str, wheel: Path) -> Environment:
    """Returns the environment ``name``, in which only ``wheel`` is installed.

    All else it imports from this interpreter's environment, in which ``boardd`` is another one.
    """
    directory = DIRECTORY / name
    python = directory / "bin" / "python"
    complete = directory / "complete.json"
    others = sysconfig.get_path("purelib")
    wanted = hashlib.sha256(f"{sys.version}\n{others}\n".encode() + wheel.read_bytes()).hexdigest()
    directory.mkdir(parents=True, exist_ok=True)
    with _locked(directory.with_suffix(".lock")):
        if not complete.exists() or json.loads(complete.read_text()) != wanted:
            shutil.rmtree(directory)
            venv.create(directory, symlinks=True)
            _pip(python, "install", "--quiet", "--no-compile", "--no-deps", str(wheel))
            (packages,) = directory.glob("lib/python*/site-packages")
            # Of a directory that is named so, what is installed for editing is not imported.
            (packages / "others.pth").write_text(f"{others}\n")
            complete.write_text(json.dumps(wanted))
    return Environment(python)
