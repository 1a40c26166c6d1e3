"""Every variable that the client reads is in the user's table, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import boardd_client
from boardd.settings.config import OPTIONS

VARIABLE = re.compile(r"\bBOARDD_[A-Z_]+\b")
DOCUMENT = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_table_lists_what_the_client_reads() -> None:
    sources = Path(boardd_client.__file__).parent.rglob("*.py")
    read = {name for source in sources for name in VARIABLE.findall(source.read_text())}
    # A daemon that the client starts gets some of its own, or is to get none of them.
    daemons = {option.variable for option in OPTIONS}
    documented = set(VARIABLE.findall(DOCUMENT.read_text()))
    assert read - daemons == documented
