"""``boardd top``: shows live what a running daemon does."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from boardd.commands.flags import access, add_access, add_timeout, command_parser, interval
from boardd.errors import ExitCode, NoDaemonError

#: Where the output is no terminal, and so has no width.
_PLAIN_WIDTH = 160


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Shows it until Ctrl-C, once without a terminal. Raises ``CommandError``."""
    parser = command_parser(
        "top",
        "Shows live what a running daemon does: runs and their ranks, records and bytes a\n"
        "second, what waits and how long, what was dropped, written and synced. Ctrl-C\n"
        "ends it. Without a terminal it prints this once.",
        "exit codes: 0 shown, 1 refused, 2 a wrong setting, 3 no daemon answers,\n"
        "  130 after Ctrl-C",
    )
    parser.add_argument("--interval", metavar="SECS", type=interval, default=1.0, help="default: 1")
    add_timeout(parser, 5.0)
    add_access(parser, environ)
    options = parser.parse_args(arguments)
    asked = access(options, environ)
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from boardd.commands.rates import RateMeter
    from boardd.commands.top_screen import HEAD_LINES, screen
    from boardd.commands.watching import statuses

    console = Console()
    meter = RateMeter()
    replies = statuses(asked, options.interval, options.timeout)
    if not console.is_terminal:
        console = Console(width=_PLAIN_WIDTH)
        for reply in itertools.islice(replies, 2):  # two, for rates
            if isinstance(reply, NoDaemonError):
                try:
                    raise reply
                finally:
                    del reply  # its traceback names this frame
            shown = screen(reply, meter.rates(reply), len(reply.runs))
        console.print(shown)
        return ExitCode.OK
    first = next(replies)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        for reply in itertools.chain([first], replies):
            if isinstance(reply, NoDaemonError):
                live.update(Text(str(reply), style="red"), refresh=True)
            else:
                shown = screen(reply, meter.rates(reply), console.height - HEAD_LINES)
                live.update(shown, refresh=True)
    return ExitCode.OK
