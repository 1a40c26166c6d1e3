"""The threads of libraries are bounded before NumPy starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from boardd.host.blas_threads import limit_libraries

CHILD = """
import sys
from boardd.cli import main

code = main(["--socket", sys.argv[1], "--logdir-root", sys.argv[2]])
from threadpoolctl import threadpool_info

print(code, *(library["num_threads"] for library in threadpool_info()))
"""


def test_what_was_set_stays() -> None:
    environ = {"OPENBLAS_NUM_THREADS": "7"}
    limit_libraries(environ)
    assert environ["OPENBLAS_NUM_THREADS"] == "7"
    assert environ["OMP_NUM_THREADS"] == environ["MKL_NUM_THREADS"] == "1"


def test_the_general_setting_is_everyones() -> None:
    environ = {"OMP_NUM_THREADS": "2"}
    limit_libraries(environ)
    assert set(environ.values()) == {"2"}
    assert "OPENBLAS_NUM_THREADS" in environ


@pytest.mark.parametrize(("set_to", "expected"), [(None, "1"), ("2", "2")])
def test_the_daemon_limits_them_in_time(tmp_path: Path, set_to: str | None, expected: str) -> None:
    if (os.cpu_count() or 1) < 2:
        pytest.skip("one core has one thread anyway")
    environ = {name: value for name, value in os.environ.items() if "NUM_THREADS" not in name}
    if set_to is not None:
        environ["OMP_NUM_THREADS"] = set_to
    # No directory can be made there, so the daemon leaves, after all was imported.
    (tmp_path / "file").touch()
    command = [sys.executable, "-c", CHILD, str(tmp_path / "file" / "s"), str(tmp_path)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120)
    code, *threads = done.stdout.split()
    assert code != "0", done.stderr
    assert threads, done.stderr
    assert set(threads) == {expected}
