"""The site of the documents is built without a warning, and has the whole of the API."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from boardd_client import SummaryWriter
from support.documents import ROOT


def build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    """What ``make docs`` does, from ``source`` into ``out``."""
    how = ("--quiet", "--fail-on-warning", "--keep-going")
    return subprocess.run(
        [sys.executable, "-m", "sphinx", *how, str(source), str(out)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = build(ROOT / "docs", out)
    assert (done.returncode, done.stderr) == (0, "")
    return out


def targets(page: Path) -> list[tuple[str, str]]:
    """Path and anchor of each link of a page within the site."""
    found = re.findall(r'(?:href|src)="([^"#?]*)(?:\?[^"#]*)?(?:#([^"]*))?"', page.read_text())
    return [(path, anchor) for path, anchor in found if ":" not in path]


def test_links_lead_somewhere(site: Path) -> None:
    """In a browser: Sphinx looks at what it resolves, not at what comes out."""
    pages = sorted(site.glob("*.html"))
    assert {page.stem for page in pages} >= {
        *(path.stem for path in (ROOT / "docs").glob("*.md")),
        "index",
    }
    for page in pages:
        for path, anchor in targets(page):
            target = site / path if path else page
            assert target.exists(), (page.name, path)
            if anchor and target.suffix == ".html":
                assert f'id="{anchor}"' in target.read_text(), (page.name, path, anchor)


def test_the_readme_leads_to_the_pages_of_the_site(site: Path) -> None:
    index = {path for path, _ in targets(site / "index.html")}
    assert {"migrating-from-mxboard.html", "benchmarks.html", "guarantees.html"} <= index
    assert not any(path.endswith(".md") for path in index)


def test_the_api_has_every_call_and_its_arguments(site: Path) -> None:
    text = (site / "api.html").read_text()
    calls = [
        name for name in dir(SummaryWriter) if not name.startswith("_") and name != "after_fork"
    ]
    assert len(calls) > 30
    for name in calls:
        assert f'id="boardd_client.SummaryWriter.{name}"' in text
    assert "<strong>purge_step</strong>" in text


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    source = tmp_path / "docs"
    shutil.copytree(ROOT / "docs" / "_static", source / "_static")
    shutil.copy(ROOT / "docs" / "conf.py", source)
    (source / "index.md").write_text("# Title\n\nTo [nothing](nothing.md).\n")
    done = build(source, tmp_path / "out")
    assert done.returncode == 1
    (warning,) = done.stderr.splitlines()
    assert "nothing.md" in warning
