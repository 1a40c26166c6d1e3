"""What the documents cite exists: tests, files, relative links, and headings they point to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.documents import DOCUMENTS, FENCED, ROOT, citations, missing_citations

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


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


def file_names(text: str) -> list[str]:
    """The links that show the name of a page's file, where a reader looks for its title."""
    return re.findall(r"\[[\w./-]+\.md\]\((?!results/)[^)]+\.md[)#]", text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_to_pages_show_titles(document: Path) -> None:
    assert file_names(document.read_text()) == []


def test_a_link_that_shows_a_file_name_is_seen() -> None:
    assert file_names(
        "See [wire.md](wire.md), [The wire](wire.md), [wire.md](wire.md#frames)."
    ) == [
        "[wire.md](wire.md)",
        "[wire.md](wire.md#",
    ]


def test_the_readme_lists_every_page() -> None:
    _, more = (ROOT / "README.md").read_text().split("## More\n")
    listed = re.findall(r"^- \[[^\]]+\]\(docs/([\w-]+)\.md\)", more, re.MULTILINE)
    # The site has the others: what it includes, and what the docstrings say.
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert sorted(listed) == sorted(pages - {"api", "benchmarks", "contributing", "index"})
    assert listed[0] == "getting-started"


def test_the_table_of_rooms_has_every_room() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    rooms = {
        str(path.parent.relative_to(ROOT))
        for package in ("client/boardd_client", "daemon/boardd")
        for path in (ROOT / package).glob("*/__init__.py")
    }
    assert rooms == set(re.findall(r"^\| `([\w/]+)/` \|", text, re.MULTILINE))
