"""Kills and failing disks under an embedding's side files.

The invariant, after a fault at any step: every entry of the projector's config
names files that are all there and all of one embedding that was logged, whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from boardd.runs.directories.disk_full import DiskFullError
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.embedding_files import write_embedding
from google.protobuf import text_format
from support.embedding_calls import CALLS, Logged
from support.tensorboard_plugins import PluginClient, ProjectorPlugin
from support.tensorboard_reader import open_reader
from support.tools import require_tracing, tmpfs
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

CONFIG = "projector_config.pbtxt"


CHILD = """
import sys
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.embedding_files import write_embedding
from support.embedding_calls import CALLS

with Roots([sys.argv[1]]).open_run("run") as directory:
    for call in CALLS:
        while True:
            try:
                write_embedding(directory, call.files())
                break
            except OSError as error:
                print(type(error).__name__, error.errno, flush=True)
"""


def check_whole(run: Path, calls: list[Logged] = CALLS) -> dict[str, Logged]:
    """Checks the invariant; returns which call each entry of the config shows."""
    if not (run / CONFIG).exists():
        return {}
    config = text_format.Parse((run / CONFIG).read_text(), ProjectorConfig())
    found = {}
    for entry in config.embeddings:
        assert entry.tensor_name not in found, "two entries of one name"
        for call in calls:
            files = call.files()
            contents = files.contents()
            tensors = next(iter(contents))
            if (
                (entry.tensor_name, tuple(entry.tensor_shape)) == (call.folder, files.shape)
                and entry.tensor_path == f"{call.folder}/{tensors}"
                and bool(entry.metadata_path) == call.has_labels
                and bool(entry.sprite.image_path) == call.has_sprite
                and all(
                    (run / call.folder / name).read_bytes() == content
                    for name, content in contents.items()
                )
            ):
                found[entry.tensor_name] = call
        assert entry.tensor_name in found, f"an entry of no call:\n{entry}"
    return found


def check_final(run: Path) -> None:
    """Checks that all calls are shown, each folder as the last call left it, and no more."""
    assert check_whole(run) == {call.folder: call for call in CALLS}
    left = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    expected = {
        f"{call.folder}/{name}" for call in CALLS[1:] for name in call.files().contents()
    } - {f"{CALLS[2].folder}/{name}" for name in ("tensors.bytes", "metadata.tsv")}
    assert left == expected | {CONFIG}


def check_shown(logdir: Path) -> None:
    """Checks that TensorBoard's projector serves all that is in the config."""
    run = logdir / "run"
    with open_reader(run) as reader:
        plugin = PluginClient(ProjectorPlugin, reader, run)
        for folder, call in check_whole(run).items():
            assert plugin.get("/tensor", run=".", name=folder) == bytes(call.files().tensors)


def run_child(tmp_path: Path, *inject: str) -> tuple[int, str, str]:
    """Runs the child under strace; returns its status, what it printed, and the trace."""
    require_tracing()
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-qq", "-y", "-o", str(trace)]
    command += ["-e", "trace=renameat,write,fsync,mkdirat,unlinkat"]
    for expression in inject:
        command += ["-e", expression]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    command += [sys.executable, "-c", CHILD, str(tmp_path / "logdir")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, -signal.SIGKILL, 128 + signal.SIGKILL), done.stderr
    return done.returncode, done.stdout, trace.read_text()


def write_all(logdir: Path) -> None:
    """What a new daemon does when the client sends again what was not acknowledged."""
    with Roots([logdir]).open_run("run") as directory:
        for call in CALLS:
            write_embedding(directory, call.files())


def kill_at(case: Path, call: str, when: int) -> bool:
    """Kills a child at its ``when``th system call of a kind; returns whether it got there."""
    case.mkdir()
    status, _, trace = run_child(case, f"inject={call}:signal=KILL:when={when}")
    run = case / "logdir" / "run"
    if status == 0:
        check_final(run)
        return False
    assert "killed by SIGKILL" in trace
    if check_whole(run):
        check_shown(case / "logdir")
    write_all(case / "logdir")
    check_final(run)
    return True


#: Config, folder and file renames of each call: the third writes a folder again, so
#: its entry leaves the config first.
RENAMES = 4 + 3 + (1 + 3) + (1 + 3) + 4


@pytest.mark.parametrize("when", [8, 9, 10, 11])
def test_kill_while_a_folder_is_written_again(tmp_path: Path, when: int) -> None:
    assert kill_at(tmp_path / "case", "renameat", when)


#: Of the other calls, every third one; ``KILL_SWEEP=1`` takes each.
STRIDE = 1 if os.environ.get("KILL_SWEEP") else 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "count"),
    [("renameat", RENAMES), ("write", RENAMES), ("fsync", 40), ("unlinkat", 20), ("mkdirat", 5)],
)
def test_kill_at_each_step(tmp_path: Path, call: str, count: int) -> None:
    when = 1
    while kill_at(tmp_path / str(when), call, when):
        when += 1 if call == "renameat" else STRIDE
    assert when > count


@pytest.mark.parametrize(
    ("call", "code"), [("fsync", "EIO"), ("write", "ENOSPC"), ("renameat", "EIO")]
)
def test_each_step_that_fails_is_repeated(tmp_path: Path, call: str, code: str) -> None:
    # Every third one fails, so that each call of write_embedding is repeated.
    logdir = tmp_path / "logdir"
    status, printed, trace = run_child(tmp_path, f"inject={call}:error={code}:when=2..90+9")
    assert status == 0
    assert trace.count("INJECTED") >= 2
    assert set(printed.splitlines()) == {
        f"DiskFullError {errno.ENOSPC}" if code == "ENOSPC" else f"OSError {errno.EIO}"
    }
    check_final(logdir / "run")


def test_order_of_what_is_made_durable(tmp_path: Path) -> None:
    # Nothing is renamed before its content is synced, and the config is renamed
    # only when the folder and the directories above it are synced.
    _, _, trace = run_child(tmp_path)
    run = tmp_path / "logdir" / "run"
    synced: list[str] = []
    configs = 0
    for line in trace.splitlines():
        if "fsync(" in line:
            synced.append(line.partition("<")[2].partition(">")[0])
        elif "renameat(" in line:
            directory = line.partition("<")[2].partition(">")[0]
            temporary = line.partition('"')[2].partition('"')[0]
            assert synced[-1] == f"{directory}/{temporary}", line
            if temporary == f".{CONFIG}.partial":
                configs += 1
                before = synced[:-1]
                if configs == 1:
                    folder = run / "words" / "deep_000001"
                    expected = [folder, folder.parent, run]
                    assert [path for path in before if "." not in Path(path).name][-3:] == [
                        *map(str, expected)
                    ]
    assert configs == len(CALLS) + 2
    assert synced.count(str(run.parent)) == 1  # the run's own directory was new


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "disk", "size=64k") as path:
        yield path


def test_full_disk_that_is_freed_page_by_page(small_disk: Path) -> None:
    run = small_disk / "run"
    filler = small_disk / "filler"
    with Roots([small_disk]).open_run("run") as directory:
        write_embedding(directory, CALLS[0].files())
        fd = os.open(filler, os.O_WRONLY | os.O_CREAT)
        with contextlib.suppress(OSError):
            while os.write(fd, bytes(512)):
                pass
        os.close(fd)
        refusals = 0
        for call in CALLS[1:]:
            while True:
                try:
                    write_embedding(directory, call.files())
                    break
                except DiskFullError:
                    refusals += 1
                    check_whole(run)
                    assert not list(run.rglob("*.partial")), "room taken by a torn file"
                    os.truncate(filler, filler.stat().st_size - 4096)
        assert refusals > 2
    check_final(run)
