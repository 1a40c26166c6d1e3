"""Where a run came from: command, git commit, Python, packages, host, devices.

Without secrets: no environment variables, and what follows an option that names a secret is
left out. Gathered on a thread of its own, which may wait for git; nothing runs on a device.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shlex
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

#: The tag of the text.
PROVENANCE_TAG: Final = "boardd/provenance"
#: The longest wait for git, in seconds.
_GIT_SECS: Final = 5.0
#: The longest wait of a writer that closes before all is gathered, in seconds.
FINISH_SECS: Final = 2.0
#: Characters of a command, and packages, that are shown.
_MAX_COMMAND: Final = 4096
_MAX_PACKAGES: Final = 1000

_SECRET: Final = re.compile(
    r"token|passw|passphrase|pwd|secret|credential|api.?key|access.?key|private.?key|auth(?!or)|bearer",
    re.IGNORECASE,
)
#: Such as ``https://user:password@host``, and tokens that services hand out.
_SECRET_VALUE: Final = re.compile(
    r"(?<=://)[^/@\s]+@|\b(?:hf_|gh[pousr]_|github_pat_|glpat-|sk-|xox[a-z]-|AKIA|eyJ)[\w.\-]{12,}"
)
_MASK: Final = "***"
_DISTRIBUTION: Final = re.compile(r"(.+?)-([^-]+)\.(?:dist|egg)-info$")


class Gathering:
    """Gathers on a thread and hands the text to ``tell``, unless it is over before."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._is_over = False
        # What the process changes later is not of its beginning.
        self._argv, self._directory = list(sys.orig_argv), os.getcwd()
        self._thread = threading.Thread(target=self._run, name="boardd-provenance", daemon=True)
        _gatherings.add(self)
        self._thread.start()

    def finish(self, timeout_secs: float = FINISH_SECS) -> None:
        """Waits for the end; what is not gathered by then is not told."""
        if self._thread is not threading.current_thread():
            self._thread.join(timeout_secs)
        # A text that is being told just now is; a call that waits for room does not hold this up.
        is_locked = self._lock.acquire(timeout=timeout_secs)
        self._is_over = True
        if is_locked:
            self._lock.release()

    def _run(self) -> None:
        text = provenance(self._argv, self._directory)
        with self._lock:
            if not self._is_over:
                self._is_over = True
                self._tell(text)


_gatherings: Final[weakref.WeakSet[Gathering]] = weakref.WeakSet()


def finish_all() -> None:
    """Waits for all that are under way, at the end of the process."""
    for gathering in list(_gatherings):
        gathering.finish()


def forget_in_child() -> None:
    """A forked child has none of the parent's threads."""
    _gatherings.clear()


def provenance(argv: Sequence[str], directory: str) -> str:
    """Returns what is known of a process with ``argv`` in ``directory``, as Markdown."""
    lines = [f"- {name}: {_code(value)}" for name, value in _facts(argv, directory) if value]
    packages = _packages(sys.path)
    shown = "\n".join(packages[:_MAX_PACKAGES])
    return "\n".join(lines) + f"\n- packages: {len(packages)}\n\n```\n{shown}\n```\n"


def _facts(argv: Sequence[str], directory: str) -> Iterator[tuple[str, str]]:
    yield "command", shlex.join(masked(argv))[:_MAX_COMMAND]
    yield "directory", directory
    yield "git", _git(directory)
    yield "Python", f"{platform.python_version()} ({platform.python_implementation()})"
    yield "host", f"{socket.gethostname()} ({platform.platform()})"
    yield "processors", f"{os.cpu_count()} x {_processor() or platform.machine()}"
    yield "GPUs", ", ".join(_gpus())


def masked(argv: Sequence[str]) -> list[str]:
    """Returns ``argv`` without the values of options that name secrets, and without tokens."""
    shown = []
    is_secret = False
    for argument in argv:
        name, equals, _ = argument.partition("=")
        if is_secret and not argument.startswith("-"):
            shown.append(_MASK)
            is_secret = False
        elif equals and _SECRET.search(name):
            shown.append(f"{name}={_MASK}")
            is_secret = False
        else:
            shown.append(_SECRET_VALUE.sub(_MASK, argument))
            is_secret = argument.startswith("-") and bool(_SECRET.search(name)) and not equals
    return shown


def _code(text: str) -> str:
    """``text`` on one line, as code: Markdown in it means nothing."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def _git(directory: str) -> str:
    """Commit, branch and whether files differ; empty outside of a repository."""
    commit = _asked_git(directory, "rev-parse", "HEAD")
    if not commit:
        return ""
    branch = _asked_git(directory, "rev-parse", "--abbrev-ref", "HEAD")
    changed = _asked_git(directory, "status", "--porcelain", "--untracked-files=no")
    if changed is None:
        state = "whether files were changed is not known"
    else:
        count = len(changed.splitlines())
        state = f"{count} tracked {'file' if count == 1 else 'files'} changed" if count else "clean"
    return f"{commit} on {branch or 'an unknown branch'}, {state}"


def _asked_git(directory: str, *arguments: str) -> str | None:
    """What git answers; None if it does not, or not in time."""
    # The repository's own programs are not run, and its index is not locked.
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", directory]
    try:
        done = subprocess.run(
            [*command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_GIT_SECS,
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None


def _packages(path: Sequence[str]) -> list[str]:
    """Names and versions of what is installed in the directories of ``path``, sorted."""
    found: dict[str, str] = {}
    for directory in path:
        with contextlib.suppress(OSError):
            for entry in os.listdir(directory or os.curdir):
                match = _DISTRIBUTION.match(entry)
                if match is not None:
                    found.setdefault(match[1], match[2])  # the first is what is imported
    return sorted((f"{name}=={version}" for name, version in found.items()), key=str.lower)


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return ""


def _gpus() -> list[str]:
    """The models of NVIDIA's GPUs, as the driver's files have them: no device is touched."""
    models = []
    with contextlib.suppress(OSError):
        for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
            for line in path.read_text(errors="replace").splitlines():
                if line.startswith("Model:"):
                    models.append(line.partition(":")[2].strip())
    return models
