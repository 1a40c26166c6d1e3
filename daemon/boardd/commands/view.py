"""``boardd view``: opens TensorBoard on what is logged."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos import logdir_paths, remote_logdir

from boardd.commands.control import fetch_status
from boardd.commands.flags import Access, access, add_access, add_timeout, command_parser
from boardd.commands.tensorboard import (
    check_port,
    free_port,
    link,
    log_flags,
    serving,
    tensorboard_command,
)
from boardd.errors import CommandError, ConfigError, NoDaemonError
from boardd.settings.sources import read

#: Of runs that are shown one by one.
MAX_SHOWN_DIRECTORIES: Final = 50
_WIDE: Final = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Shows TensorBoard's link once it answers, and waits for its end. Raises ``CommandError``."""
    parser = command_parser(
        "view",
        "Opens the TensorBoard that is installed on LOGDIR, or on what the running daemon\n"
        "writes, waits until it answers, prints its link, and ends it with Ctrl-C.",
        "exit codes: TensorBoard's own, 1 it cannot be shown, 2 a wrong argument,\n"
        "  3 no daemon and no LOGDIR, 4 the port is taken, 130 after Ctrl-C",
    )
    parser.add_argument(
        "logdir", metavar="LOGDIR", nargs="?", help="event files: a directory, or s3://bucket/runs"
    )
    parser.add_argument(
        "--port", type=_port, help="port of the page, 0: any (default: a free one from 6006 on)"
    )
    parser.add_argument(
        "--host",
        default="localhost",
        help="address of the page; others than this host's show it to the network "
        "(default: localhost)",
    )
    add_timeout(parser, 60.0)
    add_access(parser, environ)
    options = parser.parse_args(arguments)
    command = tensorboard_command(environ)
    if options.logdir is None:
        shown = _written(access(options, environ), environ)
    else:
        shown = [_named(options.logdir)]
    host, port = options.host, options.port
    port = free_port(host) if port is None else check_port(host, port)
    with serving(command, log_flags(shown), host, port, options.timeout) as wait:
        print(link(host, port), flush=True)
        return wait()


def shown_directories(reply: pb.StatusReply, home: Path) -> list[str]:
    """What to show of a daemon: its roots, or where its runs are if its root is all there is.

    TensorBoard reads all that lies beneath a directory, so that of all runs counts only if it is
    not ``home`` or wider. Raises ``CommandError`` if there is nothing that it could read.
    """
    if "/" not in reply.logdir_roots:
        return list(reply.logdir_roots)
    runs = sorted({run.group.directory or run.path for run in reply.runs})
    if not runs:
        raise CommandError(
            "the daemon writes no run now, and may write anywhere; name a directory: "
            "boardd view LOGDIR"
        )
    remote, local = _parted(runs)
    common = os.path.commonpath(local) if local else ""
    if local and Path(common) not in (home, *home.parents, *_WIDE):
        return [common, *remote]
    if len(runs) > MAX_SHOWN_DIRECTORIES:
        raise CommandError(
            f"the daemon's {len(runs)} runs have only {common} in common, which is too much to "
            "read; name a directory: boardd view LOGDIR"
        )
    return runs


def _written(asked: Access, environ: Mapping[str, str]) -> list[str]:
    try:
        reply = fetch_status(asked.where, token=asked.token, tls=asked.tls)
    except NoDaemonError as error:
        config = read([], environ).config
        if config.are_roots_given:
            return list(map(str, config.logdir_roots))
        raise NoDaemonError(f"{error}; or name a directory: boardd view LOGDIR") from None
    shown = shown_directories(reply, Path.home())
    if not all(map(os.path.isdir, _parted(shown)[1])):
        raise CommandError(f"{', '.join(shown)}: not on this host; run boardd view there")
    return shown


def _named(logdir: str) -> str:
    try:
        shown = logdir_paths.absolute(logdir)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if not remote_logdir.is_remote(shown) and not os.path.isdir(shown):
        raise ConfigError(f"{logdir} is not a directory; name one with event files")
    return shown


def _parted(shown: Sequence[str]) -> tuple[list[str], list[str]]:
    """The URLs and the directories among them."""
    remote = list(filter(remote_logdir.is_remote, shown))
    return remote, [one for one in shown if one not in remote]


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a port from 0 to 65535")
    return int(text)
