"""Every variable that the client reads is in the user's table, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import boardd_client

VARIABLE = re.compile(r"\bBOARDD_[A-Z_]+\b")
DOCUMENT = Path(__file__).parents[3] / "docs" / "settings.md"


def test_the_table_lists_what_the_client_reads() -> None:
    sources = Path(boardd_client.__file__).parent.rglob("*.py")
    read = {name for source in sources for name in VARIABLE.findall(source.read_text())}
    # The launcher asks only whether these are set; they are the daemon's.
    daemons = {"BOARDD_LOGDIR_ROOT", "BOARDD_CONFIG", "BOARDD_IDLE_EXIT", "BOARDD_SOCKET"}
    documented = set(VARIABLE.findall(DOCUMENT.read_text()))
    assert read - daemons == documented
