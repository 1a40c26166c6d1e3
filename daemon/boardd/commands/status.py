"""``boardd status``: shows what a running daemon holds and has done."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from boardd.commands.flags import access, add_access, add_timeout, command_parser, interval
from boardd.errors import ExitCode, NoDaemonError

#: Clears a terminal, what has scrolled away left out.
_CLEAR: Final = "\x1b[H\x1b[2J"


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Prints the status, once or until Ctrl-C. Raises ``CommandError``."""
    parser = command_parser(
        "status",
        "Shows what a running daemon holds and has done: its sessions, its runs, records\n"
        "written, rejected and dropped by reason, and trouble such as a full disk.",
        "exit codes: 0 shown, 1 refused, 2 a wrong setting, 3 no daemon answers",
    )
    add_timeout(parser, 5.0)
    add_access(parser, environ)
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    parser.add_argument(
        "--watch",
        metavar="SECS",
        type=interval,
        help="show it again every SECS until Ctrl-C; with --json, one line each time",
    )
    parser.add_argument("--all", action="store_true", help="every session and run, not 20 each")
    options = parser.parse_args(arguments)
    asked = access(options, environ)
    from boardd.commands.status_text import MAX_ROWS, render, to_json
    from boardd.commands.watching import statuses

    clear = _CLEAR if options.watch and sys.stdout.isatty() else ""
    max_rows = sys.maxsize if options.all else MAX_ROWS
    indent = None if options.watch else 2
    for reply in statuses(asked, options.watch or 0.0, options.timeout):
        if isinstance(reply, NoDaemonError):
            text = json.dumps({"error": str(reply)}) if options.json else f"{clear}{reply}"
        elif options.json:
            text = to_json(reply, indent)
        else:
            text = clear + render(reply, max_rows)
        separated = "\n" if options.watch and not options.json and not clear else ""
        print(text + separated, flush=True)
        if not options.watch:
            break
    return ExitCode.OK
