"""The site of the documents: these files as they are, and the API from its docstrings.

On a forge the same files are read by themselves, so their links are relative paths within the
repository. ``site_links`` turns those that leave this folder into links within the site.
"""

from __future__ import annotations

import re
from pathlib import Path

from boardd_protos import __version__
from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
REPOSITORY = DOCS.parent
#: Documents of other folders, and the pages that include them.
PAGES = {
    REPOSITORY / "README.md": "index.md",
    REPOSITORY / "CONTRIBUTING.md": "contributing.md",
    REPOSITORY / "benchmarks/README.md": "benchmarks.md",
}
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")

project = "boardd"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
nitpicky = True

myst_heading_anchors = 4

html_theme = "furo"
html_title = f"boardd {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False

autodoc_member_order = "bysource"
python_maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"
# Documented elsewhere, which takes the network to look up, or what a user gets and never makes.
nitpick_ignore_regex = [
    ("py:class", r"(collections\.abc|contextlib|os|types|boardd_client\.dropins)\..*")
]
# What hooks are for need not be installed.
autodoc_mock_imports = [
    *("accelerate", "ignite", "jax", "keras", "lightning", "mxnet", "ray", "torch", "transformers")
]


def site_links(text: str, directory: Path) -> str:
    """Returns a document of ``directory`` with its links as they are from this folder."""

    def from_docs(link: re.Match[str]) -> str:
        target = (directory / link[1]).resolve()
        if target in PAGES:
            return PAGES[target]
        if target.is_relative_to(DOCS):
            return str(target.relative_to(DOCS))
        return f"path:../{target.relative_to(REPOSITORY)}"  # to download

    return LINK.sub(from_docs, text)


def _on_source(app: Sphinx, page: str, source: list[str]) -> None:
    source[0] = site_links(source[0], DOCS)


def _on_include(app: Sphinx, path: Path, parent: str, source: list[str]) -> None:
    source[0] = site_links(source[0], (DOCS / path).resolve().parent)


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _on_source)
    app.connect("include-read", _on_include)
