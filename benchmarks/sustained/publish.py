"""Puts results where they are read: a JSON file, and a table in benchmarks/README.md.

A script's table lies between ``<!-- name.py: begin -->`` and ``<!-- name.py: end -->``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parents[2]

#: The one place of the tables; other documents link to it.
DOCUMENT = _REPOSITORY / "benchmarks/README.md"
RESULTS = _REPOSITORY / "benchmarks/results"


def publish(name: str, results: dict[str, Any], text: str) -> None:
    """Writes ``results`` to results/``name``.json and ``text`` into the document."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    renew(name, text)


def renew(name: str, text: str) -> None:
    """Puts ``text`` between the marks of ``name``.py; raises ``ValueError`` without marks."""
    begin, end = f"<!-- {name}.py: begin -->", f"<!-- {name}.py: end -->"
    before, mark, rest = DOCUMENT.read_text().partition(begin)
    _, end_mark, after = rest.partition(end)
    if not mark or not end_mark:
        raise ValueError(f"{DOCUMENT} lacks the marks {begin} and {end}")
    DOCUMENT.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown; the first column is left-aligned, the others right-aligned."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
