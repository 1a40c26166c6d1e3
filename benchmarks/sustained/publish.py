"""Puts results where they are read: a JSON file, and a table in each document that has its marks.

A document takes a script's table between ``<!-- name.py: begin -->`` and
``<!-- name.py: end -->``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_REPOSITORY = Path(__file__).resolve().parents[2]

#: Where tables are published.
DOCUMENTS = (_REPOSITORY / "benchmarks/README.md", _REPOSITORY / "docs/performance.md")
RESULTS = _REPOSITORY / "benchmarks/results"


def publish(name: str, results: dict[str, Any], text: str) -> None:
    """Writes ``results`` to results/``name``.json and ``text`` into the documents."""
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(results, indent=1) + "\n")
    renew(name, text)


def renew(name: str, text: str) -> None:
    """Puts ``text`` between the marks of ``name``.py in every document that has them.

    Raises ``ValueError`` when none has.
    """
    begin, end = f"<!-- {name}.py: begin -->", f"<!-- {name}.py: end -->"
    found = False
    for path in DOCUMENTS:
        before, mark, rest = path.read_text().partition(begin)
        _, end_mark, after = rest.partition(end)
        if mark and end_mark:
            path.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")
            found = True
    if not found:
        raise ValueError(f"no document has the marks {begin} and {end}")


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown; the first column is left-aligned, the others right-aligned."""
    lines = ["| " + " | ".join(head) + " |", "|---" + "|--:" * (len(head) - 1) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)
