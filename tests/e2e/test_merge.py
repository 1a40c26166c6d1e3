"""``boardd merge`` as a command: what it says, how it ends, how much memory it takes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import assert_refused, boardd
from support.independent_reader import points
from support.rank_files import NAME, write_ranks
from support.waiting import wait_until

#: Most of it is Python, NumPy and numba's compiled loops.
MAX_MEMORY_MIB = 320


def told(error: str) -> list[str]:
    """The lines of standard error, without the progress of a merge that takes some seconds."""
    return [line for line in re.split("[\r\n]+", error) if line and "boardd merge: " not in line]


def test_what_was_merged_is_told(tmp_path: Path) -> None:
    write_ranks(tmp_path / "run", 3, 10, 2)
    with (tmp_path / "run" / "rank_1" / NAME).open("ab") as file:
        file.write(b"torn")
    out = tmp_path / "out"
    result = boardd("merge", str(tmp_path / "run"), "--out", str(out), "--reduce", "layer/0*=sum")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{out}: 20 points of 3 ranks\n"
    assert told(result.stderr) == ["boardd: run .: rank 1: 4 bytes behind a torn or damaged record"]
    assert len(points(out, "layer/0/weight")) == len(points(out / "max", "layer/1/weight")) == 10


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run", "--out", "run/out"], "overlap"),
        (["run/rank_0", "--out", "out"], "one directory for each rank"),
        (["nothing", "--out", "out"], "no such directory"),
        (["run", "--out", "out", "--reduce", "median"], "expected one of mean, sum"),
        (["run", "--out", "out", "--max-open-mib", "0"], "expected a whole number"),
        (["run"], "--out"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    write_ranks(tmp_path / "run", 2, 1, 1)
    monkeypatch.chdir(tmp_path)
    assert_refused(boardd("merge", *arguments), 2, re.escape(says))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_nothing(tmp_path: Path, number: signal.Signals, code: int) -> None:
    write_ranks(tmp_path / "run", 2, 2000, 50)
    process = subprocess.Popen(
        [sys.executable, "-m", "boardd", "merge", "run", "--out", "out"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
    )
    with process:
        wait_until(
            lambda: any(path.name.startswith(".out.") for path in tmp_path.iterdir()),
            "the merge has begun",
        )
        process.send_signal(number)
        _, error = process.communicate(timeout=120)
    assert process.returncode == code, error
    assert told(error.decode()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.slow
def test_many_files_take_little_memory(tmp_path: Path) -> None:
    # Compiling the loops takes memory, once on each machine.
    write_ranks(tmp_path / "little", 2, 100, 2)
    assert boardd("merge", f"{tmp_path}/little", "--out", f"{tmp_path}/first").returncode == 0
    write_ranks(tmp_path / "run", 8, 4000, 100)
    size_bytes = sum(path.stat().st_size for path in (tmp_path / "run").rglob(NAME))
    assert size_bytes > 190 << 20
    program = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from boardd.cli import main\n"
        "code = main(sys.argv[1:])\n"
        # getrusage would tell the most of the process that this one was forked from.
        "status = Path('/proc/self/status').read_text()\n"
        "print(re.search(r'VmHWM:\\s*(\\d+) kB', status)[1])\n"
        "sys.exit(code)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, "merge", "run", "--out", "out"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
        env=os.environ,
    )
    told, memory_kib = result.stdout.splitlines()
    assert told == "out: 400000 points of 8 ranks"
    assert int(memory_kib) >> 10 < MAX_MEMORY_MIB
