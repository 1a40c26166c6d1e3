"""The documents: what they cite, and the blocks of commands and of Python printed in them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

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
CODE_SPAN = re.compile(r"`([^`]+)`")
PARAGRAPHS = re.compile(r"\n\s*\n")
#: ``room/module.py``, ``room/``, and ``test_file.py::test_name``.
CITED = re.compile(
    r"(?P<path>[a-z][\w.*-]*(?:/[\w.*-]+)*(?:/|\.(?:py|md|proto)))(?:::(?P<name>\w+))?"
)
FENCED = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
#: Commands as a user types them; without a language too, as GitHub shows them.
SHELL = ("sh", "")
#: Commands behind ``$``, and what they print.
CONSOLE = "console"
PYTHON = "python"


@dataclass(frozen=True)
class Block:
    """What stands between two fences of a document."""

    document: str  #: path in the repository
    language: str
    text: str

    @property
    def first_line(self) -> str:
        """Which names it in its document."""
        return self.text.split("\n", 1)[0]

    def commands(self) -> list[str]:
        """The commands of a shell or console block, each with its continued lines."""
        text = self.text.replace("\\\n", "")
        lines = text.splitlines()
        if self.language == CONSOLE:
            return [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if line]


def blocks(document: Path, text: str = "") -> list[Block]:
    """The fenced blocks of a document, or of ``text`` in its place."""
    name = str(document.relative_to(ROOT))
    return [Block(name, *found) for found in FENCED.findall(text or document.read_text())]


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a document, lists and tables among them, each on one line."""
    return [" ".join(each.split()) for each in PARAGRAPHS.split(FENCED.sub("\n", text))]


def spans(text: str) -> list[str]:
    """The code spans of a document, also those that wrap."""
    return [span for each in paragraphs(text) for span in CODE_SPAN.findall(each)]


def printed(document: str, beginning: str) -> Block:
    """The block of a document that begins so; there must be one."""
    (block,) = (each for each in blocks(ROOT / document) if each.text.startswith(beginning))
    return block


def citations(text: str) -> Iterator[tuple[str, str]]:
    """Yields path and name (or "") of what the code spans of a document cite."""
    for span in spans(text):
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


def missing_citations(text: str) -> list[str]:
    missing = []
    for path, name in citations(text):
        found = [base / path for base in BASES if any(base.glob(path))]
        if not found:
            missing.append(path)
        elif name and name not in functions(found[0]):
            missing.append(f"{path}::{name}")
    return missing
