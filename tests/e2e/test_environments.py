"""The plain install logs, the light one needs three packages, and declared ranges work.

Each environment is a real one that pip filled; a round trip sends one of
everything from one environment's client through another one's daemon and
reads it back with TensorBoard.
"""

from __future__ import annotations

import io
import json
import re
import statistics
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd_protos import __version__
from packaging.metadata import Metadata
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version
from PIL import Image
from support import round_trip
from support.daemon_process import DaemonProcess
from support.environments import (
    CLIENT_PROJECT,
    REPOSITORY,
    THIS,
    Environment,
    build_sdist,
    build_wheel,
    copy_project,
    dependencies,
    metadata,
    virtual_environment,
)
from support.tensorboard_reader import LOADERS, Loader, read_run

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.slow

IMPORT_BUDGET_SECS = 0.150

#: Without anything that searches for another daemon than the interpreter's own.
LOG_WITHOUT_A_DAEMON = """
import os, sys
os.environ.update(XDG_RUNTIME_DIR=sys.argv[1], PATH="/usr/bin:/bin")
from boardd_client import SummaryWriter
with SummaryWriter("logs") as sw:
    sw.add_scalar("loss", 0.5, 3)
"""

#: The first NumPy with a wheel for a Python, where it is newer than the declared minimum.
FIRST_NUMPY = {(3, 10): "1.22.0", (3, 11): "1.23.2"}


def declared(project: Path = Path()) -> list[Requirement]:
    """Returns the requirements in a pyproject.toml that apply to this interpreter."""
    text = (REPOSITORY / project / "pyproject.toml").read_text()
    lines = tomllib.loads(text)["project"]["dependencies"]
    requirements = [Requirement(line) for line in lines]
    return [each for each in requirements if each.marker is None or each.marker.evaluate()]


def oldest(requirement: Requirement) -> str:
    """Pins ``requirement`` to the lower end of its range."""
    if requirement.name == "numpy":
        return f"numpy=={FIRST_NUMPY[sys.version_info[:2]]}"
    (minimum,) = [each.version for each in requirement.specifier if each.operator == ">="]
    return f"{requirement.name}=={minimum}"


def build(directory: Path, project: Path = Path()) -> tuple[Path, Path]:
    """Builds a project's sdist and, of that, its wheel."""
    sdist = build_sdist(copy_project(directory, project), directory)
    return sdist, build_wheel(sdist, directory)


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("boardd"))


@pytest.fixture(scope="session")
def client_distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return build(tmp_path_factory.mktemp("client"), CLIENT_PROJECT)


@pytest.fixture(scope="session")
def wheel(distributions: tuple[Path, Path]) -> Path:
    return distributions[1]


@pytest.fixture(scope="session")
def client_wheel(client_distributions: tuple[Path, Path]) -> Path:
    return client_distributions[1]


@pytest.fixture(scope="session")
def light(client_wheel: Path) -> Environment:
    return virtual_environment("light", (), wheel=client_wheel)


@pytest.fixture(scope="session")
def environments(wheel: Path) -> dict[str, Environment]:
    return {
        "oldest": virtual_environment("oldest", list(map(oldest, declared())), wheel=wheel),
        "newest": virtual_environment("newest", (), wheel=wheel),
    }


def log_through(client: Environment, service: Environment, directory: Path) -> dict[str, Any]:
    """Runs the round trip's script in ``client`` against a daemon of ``service``.

    The run is ``directory / "logs" / "run"``. Returns what the script reports.
    """
    elsewhere = directory / "elsewhere"
    elsewhere.mkdir()
    with DaemonProcess(directory, python=service.python) as daemon:
        done = client.run(
            str(Path(round_trip.__file__)),
            daemon.address,
            str(daemon.logdir / "run"),
            cwd=elsewhere,
        )
    report: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return report


def assert_all_arrived(logdir: Path, loader: Loader) -> None:
    run = read_run(logdir, loader)
    loss = run.scalars[round_trip.SCALAR_TAG]
    assert [point.step for point in loss] == list(range(round_trip.STEPS))
    np.testing.assert_array_equal(
        [point.value for point in loss],
        np.array([round_trip.scalar(step) for step in range(round_trip.STEPS)], np.float32),
    )
    (accuracy,) = run.scalars[round_trip.ARRAY_SCALAR_TAG]
    assert (accuracy.step, accuracy.value) == (7, 0.5)

    values = round_trip.values()
    (equal,) = run.histograms[round_trip.HISTOGRAM_TAG]
    (edged,) = run.histograms[round_trip.EDGES_TAG]
    assert (equal.step, edged.step) == (1, 2)
    counts, edges = np.histogram(values.astype(np.float64), bins=round_trip.BINS)
    np.testing.assert_array_equal(equal.buckets[:, 2], counts)
    np.testing.assert_allclose(equal.buckets[:, 1], edges[1:], rtol=1e-6, atol=1e-7)
    counts, _ = np.histogram(values, bins=round_trip.EDGES)
    np.testing.assert_array_equal(edged.buckets[edged.buckets[:, 2] > 0, 2], counts)

    (image,) = run.images[round_trip.IMAGE_TAG]
    assert image.step == 3
    picture = Image.open(io.BytesIO(image.encoded))
    assert picture.size == (image.width, image.height)
    assert picture.mode == "RGB"
    assert np.asarray(picture).max() > 200


def modules(wheel: Path) -> dict[str, set[str]]:
    """The files of each package in a wheel."""
    found: dict[str, set[str]] = {}
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            package, _, rest = name.partition("/")
            if not package.endswith(".dist-info"):
                found.setdefault(package, set()).add(rest)
    return found


def test_boardd_holds_the_daemon_and_its_client_and_the_client_alone_is_a_wheel_of_its_own(
    wheel: Path, client_wheel: Path
) -> None:
    whole, alone = modules(wheel), modules(client_wheel)
    assert set(whole) == {"boardd", "boardd_client", "boardd_protos"}
    assert alone == {name: whole[name] for name in ("boardd_client", "boardd_protos")}
    assert {"py.typed", "writer.py"} <= alone["boardd_client"]
    every = {Requirement(line) for line in dependencies(wheel)}
    assert set(map(Requirement, dependencies(client_wheel))) < every
    plain = {each for each in every if "extra" not in str(each.marker)}
    assert plain >= set(declared())
    (name, version, *_) = wheel.name.split("-")
    assert (name, client_wheel.name.split("-")[:2]) == ("boardd", ["boardd_client", version])


def test_the_wheels_hold_every_file_of_the_packages(wheel: Path) -> None:
    """They are built of the sdists, so these do too."""
    for name, files in modules(wheel).items():
        (source,) = REPOSITORY.glob(f"*/{name}")
        there = {path for path in source.rglob("*") if path.is_file()}
        tracked = {
            str(path.relative_to(source)) for path in there if "__pycache__" not in path.parts
        }
        assert files == tracked


@pytest.mark.parametrize("project", [Path(), CLIENT_PROJECT], ids=["boardd", "boardd-client"])
def test_the_metadata_is_complete_and_valid(project: Path, wheel: Path, client_wheel: Path) -> None:
    declares = Metadata.from_email(metadata(client_wheel if project.parts else wheel))
    assert (declares.license_expression, declares.license_files) == ("Apache-2.0", ["LICENSE"])
    assert declares.version == Version(__version__)
    assert declares.keywords
    assert declares.author
    assert declares.description_content_type == "text/markdown"
    readme = (REPOSITORY / project / "README.md").read_text()
    assert (declares.description or "").split() == readme.split()
    assert declares.classifiers is not None
    assert declares.requires_python is not None
    named = {
        tuple(map(int, minor.split(".")))
        for minor in re.findall(
            r"^Programming Language :: Python :: (3\.\d+)$", "\n".join(declares.classifiers), re.M
        )
    }
    assert named == {(3, minor) for minor in range(10, max(named)[1] + 1)}
    assert sys.version_info[:2] in named
    assert f"{min(named)[0]}.{min(named)[1]}" in declares.requires_python
    assert "Typing :: Typed" in declares.classifiers


def test_the_light_install_is_the_client_and_its_three_packages(
    light: Environment, tmp_path: Path
) -> None:
    installed = {canonicalize_name(name) for name in light.packages(tmp_path)}
    wanted = {canonicalize_name(requirement.name) for requirement in declared(CLIENT_PROJECT)}
    assert wanted == {"grpcio", "protobuf", "numpy"}
    # typing-extensions is grpcio's own requirement.
    assert installed - {"typing-extensions"} == {"boardd-client", *wanted}


def test_importing_the_client_takes_little_more_than_importing_numpy(
    light: Environment, tmp_path: Path
) -> None:
    # CPU time: importing is one thread's work, and other load must not count.
    code = (
        "import time, numpy; begin = time.process_time(); import boardd_client; "
        "print(time.process_time() - begin)"
    )
    light.run("-c", code, cwd=tmp_path)  # compiles
    took = [float(light.run("-c", code, cwd=tmp_path).stdout) for _ in range(9)]
    assert statistics.median(took) < IMPORT_BUDGET_SECS, took


@pytest.mark.parametrize("loader", LOADERS)
def test_the_light_install_logs_through_a_daemon_of_another_environment(
    light: Environment, tmp_path: Path, loader: Loader
) -> None:
    report = log_through(light, THIS, tmp_path)
    assert report["foreign"] == []
    assert_all_arrived(tmp_path / "logs" / "run", loader)


def test_the_light_install_says_how_to_get_a_daemon_and_where_the_records_are(
    light: Environment, tmp_path: Path
) -> None:
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    done = light.run("-c", LOG_WITHOUT_A_DAEMON, str(runtime), cwd=tmp_path)
    assert "pip install boardd" in done.stderr
    kept = re.search(r"they are kept in (\S+)", done.stderr)
    assert kept is not None
    Path(kept[1]).unlink()
    assert "Traceback" not in done.stderr


def test_the_plain_install_logs(environments: dict[str, Environment], tmp_path: Path) -> None:
    """With no daemon there and nothing set: it starts its own."""
    runtime = tmp_path / "runtime"
    runtime.mkdir(mode=0o700)
    environments["newest"].run("-c", LOG_WITHOUT_A_DAEMON, str(runtime), cwd=tmp_path)
    (loss,) = read_run(tmp_path / "logs", "python").scalars["loss"]
    assert (loss.step, loss.value) == (3, 0.5)
    environments["newest"].run(
        "-m", "boardd", "stop", "--socket", str(runtime / "boardd" / "boardd.sock"), cwd=tmp_path
    )


def test_the_oldest_environment_has_the_oldest_of_everything(
    environments: dict[str, Environment], tmp_path: Path
) -> None:
    installed = {
        canonicalize_name(name): version
        for name, version in environments["oldest"].packages(tmp_path).items()
    }
    for requirement in declared():
        version = Version(installed[canonicalize_name(requirement.name)])
        assert version == Version(oldest(requirement).partition("==")[2]), requirement


def test_the_newest_environment_has_the_newest_of_everything_that_may_be(
    environments: dict[str, Environment], tmp_path: Path
) -> None:
    """Newer ones are outside our ranges, or another package's: numba's, of NumPy."""
    environment = environments["newest"]
    newer = {canonicalize_name(name): version for name, version in environment.newer.items()}
    installed = {
        canonicalize_name(name): Version(version)
        for name, version in environment.packages(tmp_path).items()
    }
    required = environment.requirements(tmp_path)
    for requirement in declared():
        name = canonicalize_name(requirement.name)
        if name in newer:
            bounds = [each.specifier for each in required if canonicalize_name(each.name) == name]
            assert any(newer[name] not in bound for bound in bounds), (requirement, newer[name])
        if requirement.name != "numpy":
            assert installed[name] > Version(oldest(requirement).partition("==")[2])


@pytest.mark.parametrize("service", ["oldest", "newest"])
@pytest.mark.parametrize("client", ["oldest", "newest"])
def test_both_ends_of_the_declared_ranges_speak_to_each_other(
    environments: dict[str, Environment], client: str, service: str, tmp_path: Path
) -> None:
    log_through(environments[client], environments[service], tmp_path)
    assert_all_arrived(tmp_path / "logs" / "run", "python")
