"""Kernels are compiled by a process of their own, once for an installation: no record waits.

    python -m boardd.host.kernel_compiler

It has the lowest priority, ends with the process that has started it, and is one of its user's
at a time. numba keeps what is compiled on disk: below ``NUMBA_CACHE_DIR``, else beside the modules,
else below the user's directory of caches. A note says that all is compiled, and in which files. It
bears what compiled code depends on in its name.
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
from collections.abc import Iterable, Iterator
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

#: With what the names of notes begin; and the file beside them that one process has locked.
_NOTE: Final = "kernels"
LOCK_NAME: Final = f"{_NOTE}.lock"

#: Without the working directory, from which ``-m`` and ``-c`` import: that is anybody's.
_PROGRAM: Final = f"""
import sys
sys.path[:] = filter(None, sys.path)
from {__name__} import main
sys.exit(main())
"""


class KernelCompiler:
    """The process that compiles, if there is anything to compile."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._obstacle = ""
        self._is_stopped = False

    def begin(self) -> None:
        """Starts the process unless all is compiled."""
        if is_noted(note_path()):
            return
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM],
                stdin=subprocess.PIPE,  # its end tells it that this process has ended
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        except OSError as error:
            self._obstacle = str(error)

    def wait(self) -> bool:
        """Waits until the process has ended; returns whether all is compiled, else warns.

        Not for the event loop's thread.
        """
        process = self._process
        if process is not None and process.stderr is not None:
            said = ""
            with process.stderr as lines:
                for line in lines:
                    said = line.strip() or said
                    _logger.debug("the compiler of kernels: %s", said)
            if code := process.wait():
                self._obstacle = f"their compiler has ended with {code}. {said}".rstrip()
        if self._obstacle and not self._is_stopped:
            _logger.warning(
                "kernels are not compiled, so NumPy does their work as long as this daemon runs, "
                "which takes more processor time: %s",
                self._obstacle,
            )
        return not self._obstacle

    def stop(self) -> None:
        """Ends the process; what it has compiled by then stays on disk."""
        self._is_stopped = True
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()


def note_path() -> Path:
    """The file that is there once all kernels are compiled for this installation and processor.

    It lies where numba keeps what it compiles, or in the user's directory of caches.
    """
    parts = ([os.fspath(_PACKAGE)], _versions(), _processor())
    return _place() / "-".join([_NOTE, *map(_digest, parts)])


def is_noted(note: Path) -> bool:
    """Whether all is compiled, and what is compiled is still there."""
    try:
        kept = note.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return False
    return all(map(os.path.exists, kept))


def _place() -> Path:
    chosen = os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        return Path(chosen)
    beside = _PACKAGE / "reduce" / "histogram" / "__pycache__"
    if os.access(beside if beside.exists() else beside.parent, os.W_OK):
        return beside
    caches = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(caches) if os.path.isabs(caches) else Path(os.path.expanduser("~/.cache"))
    return base / "boardd"


def _digest(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _versions() -> Iterator[str]:
    """What compiled code depends on, whatever the processor."""
    yield sys.version
    for library in _LIBRARIES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            yield metadata.version(library)
    for path in sorted(path for pattern in _SOURCES for path in _PACKAGE.glob(pattern)):
        status = path.stat()
        # In whole seconds, which is what the layers of images hold.
        yield f"{path.relative_to(_PACKAGE)} {status.st_size} {int(status.st_mtime)}"


def _processor() -> Iterator[str]:
    """For which processors code is compiled, or what the first one is."""
    yield from (os.environ.get(name, "") for name in _LEVEL_VARIABLES)
    if os.environ.get(_LEVEL_VARIABLES[0]):
        return
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
    # To be read only, since another user may have made it.
    lock = os.open(note.with_name(LOCK_NAME), os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


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
        if is_noted(note):
            return
        from boardd.summaries import kernels

        if not kernels.are_kept():
            raise OSError("numba finds no directory for its cache; set NUMBA_CACHE_DIR")
        kernels.compile_all()
        written = note.with_name(f"{_NOTE}.new")
        kept = sorted(path for place in kernels.places() for path in Path(place).glob("*.nbi"))
        text = "".join(f"{path}\n" for path in kept)
        written.write_text(text, errors="surrogateescape")
        written.replace(note)
        _remove_older(note)


def _remove_older(note: Path) -> None:
    """Removes the notes of other versions of this installation, but not of other processors."""
    others, _, _ = note.name.rpartition("-")
    installation, _, _ = others.rpartition("-")
    for path in note.parent.glob(f"{installation}-*"):
        if not path.name.startswith(f"{others}-"):
            path.unlink(missing_ok=True)


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
        print(f"there is no place for kernels: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
