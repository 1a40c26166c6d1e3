"""Kernels are compiled once for an installation, by one process at a time that outlives nobody."""

from __future__ import annotations

import fcntl
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest
from boardd.host import kernel_compiler
from boardd.host.kernel_compiler import LOCK_NAME, KernelCompiler, is_noted, note_path
from boardd.reduce.compiled import callee
from boardd.reduce.histogram.kernels import moments
from support.waiting import wait_until

COMMAND = [sys.executable, "-m", "boardd.host.kernel_compiler"]

PARENT = """
import signal
from boardd.host.kernel_compiler import KernelCompiler

compiler = KernelCompiler()
compiler.begin()
print(compiler._process.pid, flush=True)
signal.pause()
"""

#: Compiles all, then makes what records of all dtypes ask for, and counts what is compiled for it.
COVERAGE = """
import gc
import numpy as np
from boardd.reduce.histogram.bins import Edges, EqualWidth, Rule, default_edges
from boardd.reduce.histogram.exact_moments import exact_moments
from boardd.reduce.histogram.grid import count_grid
from boardd.reduce.histogram.histogram import histogram
from boardd.reduce.histogram.many import histograms
from boardd.summaries import kernels

def signatures():
    from numba.core.dispatcher import Dispatcher
    found = [one for one in gc.get_objects() if isinstance(one, Dispatcher)]
    return {(one.__module__, one.__qualname__, *each) for one in found for each in one.signatures}

kernels.compile_all()
before = signatures()
random = np.random.default_rng(1)
for dtype in ("float16", "float32", "float64", "bool", "int64"):
    for size in (0, 50, 3000, 20_000, 70_000):
        values = (100 * random.random((2, size))).astype(dtype)
        edges = Edges(np.array([0.0, 1.0, 50.0]))
        for bins in (EqualWidth(10), EqualWidth(65536), default_edges(), Rule("fd"), edges):
            for array in (values, values[:, ::2]):
                histogram(array, bins)
            list(histograms(values.reshape(-1), [size, size], bins))
        assert exact_moments(values).num == values.size
        count_grid(values, 0.0, 100.0, 64)
print(sorted(map(str, signatures() - before)))
"""


def compiling(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told(process: subprocess.Popen[str]) -> str:
    """What it says until its end, while its input is open."""
    assert process.stderr is not None
    said = process.stderr.read()
    process.wait(60)
    return said


@pytest.fixture
def note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where it is noted that all is compiled, in an empty directory."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    path = note_path()
    assert path.parent == tmp_path
    return path


def test_the_note_is_of_one_processor(note: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CPU_NAME", "x86-64-v3")
    other = note_path()
    assert other.name != note.name
    monkeypatch.setenv("NUMBA_CPU_NAME", "generic")
    assert note_path().name not in (note.name, other.name)


def test_the_note_is_of_sources_by_whole_seconds(
    note: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layers of images hold no others."""
    monkeypatch.setattr(kernel_compiler, "_PACKAGE", tmp_path)
    source = tmp_path / "reduce" / "kernels.py"
    source.parent.mkdir()
    source.touch()
    names = []
    for seconds in (1000.0, 1000.5, 1001.0):
        os.utime(source, (seconds, seconds))
        names.append(note_path().name)
    assert names[0] == names[1] != names[2]


def test_the_note_lies_beside_what_numba_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    assert os.fspath(note_path().parent) == callee(moments).stats.cache_path


def test_the_note_lies_with_the_user_if_modules_cannot_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(kernel_compiler, "_PACKAGE", tmp_path / "none")
    assert note_path().parent == tmp_path / "boardd"


def test_a_note_counts_while_what_is_compiled_is_there(note: Path, tmp_path: Path) -> None:
    assert not is_noted(note)
    files = [tmp_path / f"kernel {number}.nbi" for number in range(2)]
    for path in files:
        path.touch()
    note.write_text("".join(f"{path}\n" for path in files))
    assert is_noted(note)
    files[1].unlink()
    assert not is_noted(note)


def test_notes_of_older_versions_are_removed(note: Path) -> None:
    installation, version, processor = note.name.removeprefix("kernels-").split("-")
    kept = [note.name, f"kernels-{installation}-{version}-other", "kernels-other-0-0", LOCK_NAME]
    for name in (*kept, f"kernels-{installation}-older-{processor}"):
        (note.parent / name).touch()
    kernel_compiler._remove_older(note)
    assert sorted(path.name for path in note.parent.iterdir()) == sorted(kept)


def test_nothing_is_started_once_all_is_compiled(note: Path) -> None:
    note.touch()
    compiler = KernelCompiler()
    compiler.begin()
    assert compiler._process is None
    assert compiler.wait()
    compiler.stop()


def test_why_nothing_can_be_compiled_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What lies in the daemon's working directory is none of the compiler's modules."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", os.devnull + "/cache")
    (tmp_path / "fcntl.py").write_text("raise ImportError('of the working directory')")
    monkeypatch.chdir(tmp_path)
    compiler = KernelCompiler()
    compiler.begin()
    assert not compiler.wait()
    compiler.stop()
    (warning,) = (record for record in caplog.records if record.levelname == "WARNING")
    assert "NumPy does their work" in warning.message
    assert "ended with 1. there is no place for kernels" in warning.message


@pytest.mark.parametrize("is_stopped", [True, False])
def test_a_compiler_that_was_killed_has_compiled_nothing(
    is_stopped: bool, note: Path, caplog: pytest.LogCaptureFixture
) -> None:
    compiler = KernelCompiler()
    with open(note.with_name(LOCK_NAME), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        compiler.begin()
        assert compiler._process is not None
        if is_stopped:
            compiler.stop()
        else:
            compiler._process.kill()
        assert not compiler.wait()
    compiler.stop()
    assert len(caplog.records) == (0 if is_stopped else 1), "who stops it need not be told"


def test_who_waits_for_its_turn_finds_that_all_is_compiled(note: Path) -> None:
    with open(note.with_name(LOCK_NAME), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with compiling([COMMAND[0], "-X", "importtime", *COMMAND[1:]]) as process:
            wait_until(lambda: _waits_for_lock(process.pid))
            note.touch()
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert "numba" not in told(process)
    assert process.returncode == 0


def _waits_for_lock(pid: int) -> bool:
    locks = Path("/proc/locks").read_text().splitlines()
    return any(f" {pid} " in line and "->" in line for line in locks)


def test_it_ends_with_the_process_that_has_started_it(note: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        descriptor = os.pidfd_open(pid)
        parent.kill()
    try:
        wait_until(lambda: _has_ended(descriptor))
    finally:
        os.close(descriptor)
    assert not note.exists()


def _has_ended(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def test_without_a_place_it_says_so_and_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", os.devnull + "/cache")
    with compiling(COMMAND) as process:
        assert "there is no place for kernels" in told(process)
    assert process.returncode == 1


def test_nothing_is_left_to_compile_for_what_records_bring() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COVERAGE], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout == "[]\n", done.stderr
