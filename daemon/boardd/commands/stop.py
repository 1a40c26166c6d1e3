"""``boardd stop``: ends a running daemon, which writes what it holds first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boardd_protos import address

from boardd.commands.flags import add_address, add_timeout, asked_address, command_parser
from boardd.errors import ConfigError, ExitCode


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Waits until the daemon is gone. Raises ``CommandError``."""
    parser = command_parser(
        "stop",
        "Ends a running daemon, which writes what it holds first, and waits until it is\n"
        "gone. Clients keep what it cannot write in its --drain-secs, for the next daemon.",
        "exit codes: 0 gone, 1 refused or still there, 2 a wrong setting, 3 no daemon",
    )
    add_timeout(parser, 60.0)
    add_address(parser)
    options = parser.parse_args(arguments)
    where = asked_address(options, environ)
    if not isinstance(where, address.UnixAddress):
        raise ConfigError(
            f"{where}: a daemon is stopped over its Unix socket, on its own host; "
            "give the socket with --socket"
        )
    from boardd.commands.control import stop

    pid = stop(where, timeout_secs=options.timeout)
    print(f"boardd (pid {pid}) has stopped", flush=True)
    return ExitCode.OK
