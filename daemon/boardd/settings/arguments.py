"""The command line of the daemon: its flags and what ``boardd --help`` says."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any, NoReturn

from boardd_protos import __version__

from boardd.errors import ConfigError
from boardd.settings.config import OPTIONS, Config
from boardd.settings.option import TRUTH


class ArgumentParser(argparse.ArgumentParser):
    """Raises ``ConfigError`` with one line instead of printing its usage."""

    def error(self, message: str) -> NoReturn:
        """Raises ``ConfigError`` with ``message``."""
        raise ConfigError(f"{message}; see {self.prog} --help")


def argument_parser() -> argparse.ArgumentParser:
    """The parser of the daemon's flags. Its result holds only flags that were given."""
    parser = ArgumentParser(
        prog="boardd",
        usage="boardd [flags]\n       boardd COMMAND [flags]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"boardd {__version__}")
    groups: dict[str, Any] = {}
    defaults = {item.name: item.default for item in dataclasses.fields(Config)}
    for option in OPTIONS:
        if option.group not in groups:
            groups[option.group] = parser.add_argument_group(option.group)
        default = option.shown_default(defaults[option.field])
        text = f"{option.help} (default: {default})".replace("%", "%%")
        add = groups[option.group].add_argument
        if option.kind is TRUTH:
            add(option.flag, dest=option.field, action="store_true", help=text)
        else:
            action = "append" if option.repeatable else "store"
            metavar = option.kind.metavar
            add(option.flag, dest=option.field, action=action, metavar=metavar, help=text)
    return parser


_DESCRIPTION = """\
boardd takes what training processes log and writes it as TensorBoard event
files, so that reductions, encoding and the disk never hold training up.

It runs in the foreground until SIGTERM or Ctrl-C, then writes what it holds and
leaves. A second signal ends it at once. Clients on this host find it by
themselves:  from boardd_client import SummaryWriter

commands (boardd COMMAND --help says more):
  boardd           run the daemon in the foreground
  boardd status    show what a running daemon holds and has done
  boardd top       the same live: rates, what waits, lag, drops
  boardd view      open TensorBoard on what is logged
  boardd doctor    check sockets, memory, disks and versions, and say what to do
  boardd config    show which settings count and where each comes from
  boardd stop      end a running daemon, which writes what it holds first
  boardd merge     merge event files of separate ranks into a new logdir
"""

_EPILOG = """\
Every flag is also an environment variable (--nice: BOARDD_NICE; BOARDD_LOGDIR_ROOT
holds directories separated by ':') and a key of the --config file (nice = 10,
logdir-root = ["/data"]). A flag overrides a variable, and a variable the file. Without
--config, ~/.config/boardd/config.toml is read if it exists; boardd config shows what counts.

examples:
  boardd --logdir-root ~/runs
      serve this user's training processes; then: tensorboard --logdir ~/runs
  boardd --logdir-root /data/runs --listen 127.0.0.1:7654
      the same and TCP, for containers that share the host's network
  boardd --logdir-root /data/runs --listen 0.0.0.0:7654 \\
         --token-file token --tls-cert cert.pem --tls-key key.pem
      the same, for other hosts too
  boardd status --json

exit codes: 0 done, 1 failed or ended by a second signal, 2 a wrong setting,
  3 no daemon answers, 4 another process has the socket or port.

To run it as a service or in a container: docs/deploying.md in the source.
"""
