"""What a daemon tells people of this process."""

from __future__ import annotations

import sys

from boardd_protos.limits import MAX_PROGRAM_TEXT


def program() -> str:
    """The name of the program."""
    return sys.argv[0][:MAX_PROGRAM_TEXT] if getattr(sys, "argv", None) else ""
