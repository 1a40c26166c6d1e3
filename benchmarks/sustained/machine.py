"""What a figure depends on: the machine, how busy it was, and the code."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parents[2]


def describe() -> dict[str, Any]:
    """Date, commit, processor, usable cores, kernel and load average, now."""
    cpu = "unknown CPU"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=_REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ).stdout.strip()
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit or "unknown",
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "load_average": os.getloadavg(),
    }


def sentence(about: dict[str, Any]) -> str:
    """``describe()`` in a sentence."""
    return (
        f"{about['date']}, commit {about['commit']}: {about['cpu']}, {about['cores']} cores, "
        f"Linux {about['kernel']}, load average {about['load_average'][0]:.1f} before the run."
    )
