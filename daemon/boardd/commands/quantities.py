"""Times and sizes as text for people."""

from __future__ import annotations

import itertools


def duration(secs: float) -> str:
    """``secs`` in the two largest units: ``3 s``, ``2 min 5 s``, ``4 h 0 min``."""
    whole = int(secs)
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    for (large, name), (small, next_name) in itertools.pairwise(units):
        if whole >= large:
            return f"{whole // large} {name} {whole % large // small} {next_name}"
    return f"{whole} s"


def size(size_bytes: float) -> str:
    """``size_bytes`` in binary units with three digits: ``12 B``, ``1.50 MiB``."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1000 or unit == "TiB":
            break
        value /= 1024
    if unit == "B":
        return f"{value:.0f} B"
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f} {unit}"
