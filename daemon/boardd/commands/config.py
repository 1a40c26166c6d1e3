"""``boardd config``: shows which settings count and where each comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from boardd.errors import ExitCode

_HELP = """\
usage: boardd config [--json] [flags of the daemon]

Shows the settings of a daemon that is started here with these flags, and where
each comes from: a flag, a variable, the settings file, or the default. A flag
overrides a variable, a variable the file. Secrets are shown as set or not.

options:
  -h, --help  show this help message and exit
  --json      as JSON, for programs

exit codes: 0 shown, 2 a wrong setting"""


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Prints the settings. Raises ``ConfigError`` for those that no daemon would start with."""
    if {"-h", "--help"} & set(arguments):
        print(_HELP)
        return ExitCode.OK
    from boardd.settings.report import render, to_json
    from boardd.settings.sources import read

    is_json = "--json" in arguments
    settings = read([item for item in arguments if item != "--json"], environ)
    print(to_json(settings, environ) if is_json else render(settings, environ), flush=True)
    return ExitCode.OK
