"""The site of the documents is built without a warning, and has the whole of the API."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from boardd_client import SummaryWriter
from support.documents import ROOT


def make_docs(directory: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Runs ``make docs`` in a directory, with the environment of the tests."""
    return subprocess.run(
        [
            *("make", "--no-print-directory", "--silent", f"--makefile={ROOT / 'Makefile'}"),
            # Which sets nothing up.
            *(f"--old-file={sys.prefix}/.ready", f"VENV={sys.prefix}", f"SITE={site}", "docs"),
        ],
        cwd=directory,
        # Not those of the make that runs the tests.
        env={name: value for name, value in os.environ.items() if not name.startswith("MAKE")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    done = make_docs(ROOT, out)
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
    for drop_in in ("torch.SummaryWriter", "tensorboardX.SummaryWriter"):
        assert f'id="boardd_client.{drop_in}.add_embedding"' in text
    assert 'id="boardd_client.tensorboardX.GlobalSummaryWriter.getSummaryWriter"' in text


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    source = tmp_path / "docs"
    shutil.copytree(ROOT / "docs" / "_static", source / "_static")
    shutil.copy(ROOT / "docs" / "conf.py", source)
    (source / "index.md").write_text("# Title\n\nTo [nothing](nothing.md).\n")
    done = make_docs(tmp_path, tmp_path / "out")
    assert done.returncode == 2
    warning, failed = done.stderr.splitlines()
    assert "nothing.md" in warning
    assert failed.startswith("make: *** ")
