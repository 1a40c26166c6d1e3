"""The container file is valid, and says what the daemon understands."""

from __future__ import annotations

import ast
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import pytest
from boardd.settings.config import OPTIONS
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.environments import BUILD_FILES, CACHES, PACKAGES, THIS
from support.tools import require_program, require_root

DEPLOY = Path(__file__).parents[2] / "deploy"
CONTAINERFILE = DEPLOY / "Containerfile"
SOURCE = DEPLOY.parent
DOCUMENT = SOURCE / "docs" / "deploying.md"

#: Compiles the kernels.
COMPILER = "deploy/compile_kernels.py"

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
    images = [base.split() for base in arguments(instructions, "FROM")]
    named = {image[2] for image in images if len(image) == 3}
    foreign = [image[0] for image in images if image[0] not in named]
    assert len(foreign) == 1
    assert re.fullmatch(r"docker\.io/library/python:3\.11-slim-\w+", foreign[0])
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
    copies = arguments(instructions, "COPY")
    assert f"--from=build {environ['NUMBA_CACHE_DIR']} {environ['NUMBA_CACHE_DIR']}" in copies


def test_the_image_copies_what_the_package_is_built_from(
    instructions: list[tuple[str, str]],
) -> None:
    """The same files from which other tests build and install it, each to its own place."""
    copied: dict[str, str] = {}
    for copy in arguments(instructions, "COPY"):
        if not copy.startswith("--from"):
            *names, target = copy.split()
            copied.update((name, name if target == "./" else target) for name in names)
    assert copied == {name: name for name in (*PACKAGES, *BUILD_FILES, COMPILER)}


#: Runs a command where the image's two directories are at their places.
IN_IMAGE = """
mode=$1 && shift
for place in opt/boardd var/cache/boardd; do
  mount --bind "$0/$place" "/$place" || exit
  [ "$mode" = rw ] || mount -o remount,bind,ro "/$place" || exit
done
exec "$@"
"""
PLACES = ("opt/boardd", "var/cache/boardd")


@dataclass
class Image:
    """What the image holds beside its base, in a directory."""

    directory: Path
    environ: dict[str, str]

    def command(self, mode: str, command: Sequence[str]) -> list[str]:
        """Lets ``command`` see it at its places; ``mode``: "ro" if it is not written."""
        return ["unshare", "--mount", "sh", "-c", IN_IMAGE, str(self.directory), mode, *command]

    def popen(self, command: Sequence[str], **arguments: Any) -> subprocess.Popen[bytes]:
        """Starts ``command`` in it, as in a container that may not write."""
        return subprocess.Popen(self.command("ro", command), **arguments)


@pytest.fixture(scope="module")
def image(
    instructions: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Image]:
    """The image, built by the steps of its first stages."""
    require_root()
    require_program("unshare")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, timeout=120).returncode:
        pytest.skip("mount namespaces cannot be made here")
    directory = tmp_path_factory.mktemp("image")
    for name in ("bin", "source", "home", *PLACES):
        (directory / name).mkdir(parents=True)
    made = [place for place in (Path("/", name) for name in PLACES) if not place.exists()]
    for place in made:
        place.mkdir(parents=True)
    (directory / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    stages = [n for n, (name, _) in enumerate(instructions) if name == "FROM"]
    assert len(stages) == 3
    steps = instructions[: stages[2]]
    values = dict(text.split("=", 1) for text in arguments(steps, "ARG"))
    environ = dict(re.findall(r"(\w+)=(\S*)", " ".join(arguments(steps, "ENV"))))
    for name, value in environ.items():
        environ[name] = Template(value.strip('"')).safe_substitute(values)
    environ |= {"PATH": f"{directory}/bin:{os.environ['PATH']}", "HOME": f"{directory}/home"}
    for copy in arguments(steps, "COPY"):
        *sources, _ = copy.split()
        for source in sources:
            target = directory / "source" / source
            target.parent.mkdir(exist_ok=True)
            if (SOURCE / source).is_dir():
                shutil.copytree(SOURCE / source, target, ignore=CACHES)
            else:
                shutil.copy(SOURCE / source, target)
    image = Image(directory, environ)
    for step in arguments(steps, "RUN"):
        done = subprocess.run(
            image.command("rw", ["sh", "-ec", step]),
            cwd=directory / "source",
            env={**THIS.environ(), **environ},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"{step}:\n{done.stdout}\n{done.stderr}"
    for path in directory.rglob("*"):  # as layers hold it
        if not path.is_symlink():
            os.utime(path, (int(path.stat().st_mtime),) * 2)
    yield image
    shutil.rmtree(directory)
    for place in made:
        place.rmdir()


#: Functions of ``boardd`` that compile another and keep it in numba's cache.
COMPILING = {"entry", "brief_entry", "_compiled"}
#: What the names of those that keep the GIL begin with.
BRIEF = {False: "", True: "brief_"}


def kernels() -> set[str]:
    """What the daemon's source says is compiled and kept: each as "module.function"."""
    found = set()
    for path in (SOURCE / "daemon").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                decorators = [getattr(each, "func", each) for each in node.decorator_list]
                names = {each.id for each in decorators if isinstance(each, ast.Name)}
                for name in names & COMPILING:
                    found.add(f"{path.stem}.{BRIEF[name == 'brief_entry']}{node.name}")
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                (argument, *_) = (*node.args, None)
                if node.func.id in COMPILING and isinstance(argument, ast.Name):
                    brief = BRIEF[node.func.id == "brief_entry"]
                    found.add(f"{path.stem}.{brief}{argument.id}")
    return found


@pytest.mark.slow
def test_the_image_has_every_kernel(image: Image) -> None:
    compiled = (image.directory / "var/cache/boardd").rglob("*.nbi")
    assert {path.name.rpartition("-")[0] for path in compiled} == kernels()
    code = "import sys; from boardd.host import kernel_compiler as compiler\n"
    code += "sys.exit(not compiler.is_noted(compiler.note_path()))"
    with image.popen(
        ["/opt/boardd/bin/python", "-c", code], env={**THIS.environ(), **image.environ}
    ) as process:
        assert process.wait(60) == 0, "and its daemons compile nothing"


def test_a_kernel_that_is_not_compiled_fails_the_build(tmp_path: Path) -> None:
    """Of a module whose kernels are compiled only as they are called."""
    code = "import sys, runpy, boardd.reduce.histogram.many_kernels\n"
    code += "sys.exit(runpy.run_path(sys.argv[1])['missing']())"
    done = subprocess.run(
        [sys.executable, "-c", code, str(SOURCE / COMPILER)],
        env={**THIS.environ(), "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    missing = re.findall(r"'(\w+\.\w+)-\d+'", done.stderr)
    assert {"many_kernels._equal_width_of_many"} <= set(missing) <= kernels()


@pytest.mark.slow
def test_nothing_is_compiled_in_the_field(image: Image, tmp_path: Path) -> None:
    """On another processor, with an empty home and an image that cannot be written."""
    home = tmp_path / "home"
    home.mkdir()
    tests = SOURCE / "tests"
    with DaemonProcess(
        tmp_path,
        environ={**image.environ, "HOME": str(home), "PYTHONPATH": str(tests)},
        python=Path("/opt/boardd/bin/python"),
        module="support.compile_telling_daemon",
        popen=image.popen,
    ) as daemon:
        log = runpy.run_path(str(SOURCE / COMPILER))["log"]
        for run in range(2):
            with SummaryWriter(
                daemon.logdir / "run",
                address=daemon.address,
                rank=run,
                world_size=2,
                on_full="block",
            ) as writer:
                log(writer)
                writer.add_histogram("one", np.float32(1.0).reshape(1, 1, 1), 0)
                assert writer.close(timeout=300)
        assert "compiles" not in daemon.log
        assert daemon.terminate() == 0
    assert list(home.iterdir()) == []
