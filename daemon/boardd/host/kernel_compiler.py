"""Kernels are compiled by a process of their own, once for an installation: no record waits.

    python -m boardd.host.kernel_compiler

It has the lowest priority, ends with the process that has started it, and is one of its user's
at a time. numba keeps what is compiled on disk (``NUMBA_CACHE_DIR``). A note beside that says
that all of it is there; it bears what compiled code depends on in its name.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Final

_logger = logging.getLogger(__name__)

_PACKAGE: Final = Path(__file__).resolve().parents[1]
#: The code of kernels, and what says for which types they are compiled.
_SOURCES: Final = ("reduce/**/*.py", "events/*.py", "summaries/kernels.py")
_LIBRARIES: Final = ("numba", "llvmlite", "numpy")
#: Which say for which processors code is compiled. Else it is for this one.
_LEVEL_VARIABLES: Final = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES")
#: What tells processors apart in /proc/cpuinfo, on x86 and on ARM.
_CPU_FIELDS: Final = ("model name", "flags", "CPU part", "Features")
_LOWEST_PRIORITY: Final = 19
_FIRST_TO_BE_KILLED: Final = "1000"
_STANDARD_INPUT: Final = 0


class KernelCompiler:
    """The process that compiles, if there is anything to compile."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def begin(self) -> bool:
        """Starts the process unless all is compiled; returns whether it runs."""
        if note_path().exists():
            return False
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,  # its end tells it that this process has ended
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            _logger.debug("kernels are compiled as they are called: %s", error)
            return False
        return True

    def wait(self) -> None:
        """Waits until the process has ended. Not for the event loop's thread."""
        if self._process is not None:
            code = self._process.wait()
            _logger.debug("the compiler of kernels has ended with %d", code)

    def stop(self) -> None:
        """Ends the process; what it has compiled by then stays on disk."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()


def note_path() -> Path:
    """The file that is there once all kernels are compiled for this installation and processor."""
    place = os.environ.get("NUMBA_CACHE_DIR")
    if not place:
        caches = os.environ.get("XDG_CACHE_HOME", "")
        base = Path(caches) if os.path.isabs(caches) else Path(os.path.expanduser("~/.cache"))
        place = os.fspath(base / "boardd")
    digest = hashlib.sha256()
    for part in _dependencies():
        digest.update(f"{part}\n".encode(errors="surrogateescape"))
    return Path(place) / f"kernels-{digest.hexdigest()[:32]}"


def _dependencies() -> Iterator[str]:
    """What compiled code depends on."""
    yield sys.version
    for library in _LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield metadata.version(library)
    for path in sorted(path for pattern in _SOURCES for path in _PACKAGE.glob(pattern)):
        status = path.stat()
        yield f"{path} {status.st_size} {status.st_mtime_ns}"
    yield from (os.environ.get(name, "") for name in _LEVEL_VARIABLES)
    if not os.environ.get(_LEVEL_VARIABLES[0]):
        yield from _processor()


def _processor() -> Iterator[str]:
    """What the first processor is."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", errors="replace") as file:
        for line in file:
            if not line.strip():
                return
            if line.startswith(_CPU_FIELDS):
                yield line.strip()


@contextlib.contextmanager
def _turn(note: Path) -> Iterator[None]:
    """Waits until no other process of this user compiles."""
    note.parent.mkdir(parents=True, exist_ok=True)
    with open(note.with_name("kernels.lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _end_with_parent() -> None:
    # Not by sys.stdin, whose lock the end of the interpreter would wait for.
    while os.read(_STANDARD_INPUT, 1):
        pass
    os._exit(1)


def compile_in_turn() -> None:
    """Compiles all kernels and notes it, unless another process does so first.

    Raises ``OSError`` if there is no place on disk for them.
    """
    note = note_path()
    with _turn(note):
        if note.exists():
            return
        from boardd.summaries import kernels

        if not kernels.are_kept():
            raise OSError("numba finds no directory for its cache; set NUMBA_CACHE_DIR")
        kernels.compile_all()
        note.touch()  # its directory is the lock's


def main() -> int:
    """Compiles, for as long as its standard input is open. Returns the exit code."""
    os.setpriority(os.PRIO_PROCESS, 0, _LOWEST_PRIORITY)
    # If memory is short, this process is what nobody misses.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_BE_KILLED)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        compile_in_turn()
    except OSError as error:
        print(f"kernels are compiled as they are called: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
