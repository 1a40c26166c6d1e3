"""Where a run came from: command, git commit, Python, packages, host, devices.

Without secrets: no environment variables, and a command as ``masking`` shows it. It may wait
for git; nothing runs on a device.
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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from boardd_client.transport.masking import MAX_COMMAND, masked

#: The longest wait for git, in seconds.
_GIT_SECS: Final = 5.0
#: Packages that are shown.
_MAX_PACKAGES: Final = 1000

_DISTRIBUTION: Final = re.compile(r"(.+?)-([^-]+)\.(?:dist|egg)-info$")


def provenance(argv: Sequence[str], directory: str) -> str:
    """Returns what is known of a process with ``argv`` in ``directory``, as Markdown.

    An empty ``directory`` is not known, and neither is the commit then.
    """
    lines = [f"- {name}: {_code(value)}" for name, value in _facts(argv, directory) if value]
    packages = _packages(sys.path)
    shown = "\n".join(packages[:_MAX_PACKAGES])
    text = "\n".join(lines) + f"\n- packages: {len(packages)}\n\n```\n{shown}\n```\n"
    # Arguments and names of files need not be UTF-8.
    return text.encode(errors="replace").decode()


def _facts(argv: Sequence[str], directory: str) -> Iterator[tuple[str, str]]:
    yield "command", shlex.join(masked(argv))[:MAX_COMMAND]
    yield "directory", directory
    yield "git", _git(directory)
    yield "Python", f"{platform.python_version()} ({platform.python_implementation()})"
    yield "host", f"{socket.gethostname()} ({platform.platform()})"
    yield "processors", f"{os.cpu_count()} x {_processor() or platform.machine()}"
    yield "GPUs", ", ".join(_gpus())


def _code(text: str) -> str:
    """``text`` on one line, as code: Markdown in it means nothing."""
    return "`" + " ".join(text.replace("`", "'").split()) + "`"


def _git(directory: str) -> str:
    """Commit, branch and whether files differ; empty outside of a repository."""
    commit = _asked_git(directory, "rev-parse", "HEAD") if directory else None
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
    # No monitor of the file system is started and the index is not locked. As for anyone who
    # asks for the status, git passes files that look changed through the filters that its
    # configuration names: without them, whether they differ is not known.
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
