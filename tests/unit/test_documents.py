"""What the documents cite exists: tests, files, relative links, and headings they point to."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks/README.md",
    ROOT / "deploy/README.md",
]
#: Where a path in a document may begin.
BASES = (
    *(ROOT, ROOT / "tests", ROOT / "benchmarks"),
    *(ROOT / "client/boardd_client", ROOT / "daemon/boardd", ROOT / "protos/boardd_protos"),
)
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
CODE = re.compile(r"`([^`\n]+)`")
#: ``room/module.py``, ``room/``, and ``test_file.py::test_name``.
CITED = re.compile(
    r"(?P<path>[a-z][\w.*-]*(?:/[\w.*-]+)*(?:/|\.(?:py|md|proto)))(?:::(?P<name>\w+))?"
)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def citations(text: str) -> Iterator[tuple[str, str]]:
    """Yields path and name (or "") of what the code spans of a document cite."""
    for span in CODE.findall(FENCED.sub("", text)):
        match = CITED.fullmatch(span)
        if match is not None:
            yield match["path"], match["name"] or ""


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {
        node.name
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
    }


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def missing_citations(text: str) -> list[str]:
    missing = []
    for path, name in citations(text):
        found = [base / path for base in BASES if any(base.glob(path))]
        if not found:
            missing.append(path)
        elif name and name not in functions(found[0]):
            missing.append(f"{path}::{name}")
    return missing


def broken_links(document: Path, text: str) -> list[str]:
    broken = []
    for link in LINK.findall(FENCED.sub("", text)):
        target, _, anchor = link.partition("#")
        if re.match(r"\w+:", link):
            continue
        path = document.parent / target if target else document
        if not path.exists() or (
            anchor and anchor not in anchors(text if not target else path.read_text())
        ):
            broken.append(link)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_document_cites_exists(document: Path) -> None:
    text = document.read_text()
    assert missing_citations(text) == []
    assert broken_links(document, text) == []


@pytest.mark.parametrize(
    "text",
    [
        "`e2e/test_of_nothing.py`",
        "`e2e/test_workers.py::test_of_nothing`",
        "`core/nothing/`",
        "`tests/unit/nothing/test_*.py`",
    ],
)
def test_a_missing_citation_is_seen(text: str) -> None:
    assert missing_citations(text)


@pytest.mark.parametrize(
    "text", ["[a](docs/nothing.md)", "[b](README.md#nothing)", "[c](#nothing)"]
)
def test_a_broken_link_is_seen(text: str) -> None:
    assert broken_links(ROOT / "README.md", text)


def test_what_exists_is_found() -> None:
    text = (
        "# A `heading`, here\n"
        "`e2e/test_workers.py::test_each_rank_has_its_sub_run` `core/runs/` `frame.py` "
        "[a](#a-heading-here) [b](docs/wire.md) [c](https://example.org/)"
    )
    assert missing_citations(text) == []
    assert broken_links(ROOT / "README.md", text) == []
    assert len(list(citations(text))) == 3
