"""The ``boardd`` command: runs the daemon, shows or ends a running one, merges event files."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from boardd_protos import __version__, address
from boardd_protos.merging import REDUCTIONS

from boardd.errors import CommandError, ConfigError, ExitCode
from boardd.host import blas_threads
from boardd.settings.arguments import ArgumentParser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command that ``arguments`` (default: those of the process) ask for.

    Returns its exit code, an ``ExitCode``; 130 after Ctrl-C.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    # What gRPC's core would print is reported below, in one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    commands = {"merge": _merge, "status": _status, "stop": _stop}
    try:
        if given and not given[0].startswith("-"):
            if given[0] not in commands:
                known = ", ".join(commands)
                raise ConfigError(
                    f"unknown command {given[0]!r}; known: {known}; see boardd --help"
                )
            return commands[given[0]](given[1:], os.environ)
        _run(given, os.environ)
    except CommandError as error:
        print(f"boardd: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("boardd", "boardd_protos"):
            raise
        print(
            f"boardd: the daemon needs {error.name}, which is not installed; "
            "run: pip install boardd",
            file=sys.stderr,
        )
        return ExitCode.FAILED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of the output has left, so nothing more can be said, or flushed at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except OSError as error:
        print(f"boardd: cannot go on: {error}; see to it and start again", file=sys.stderr)
        return ExitCode.FAILED


def _run(arguments: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    from boardd.settings.sources import load

    config = load(arguments, environ)
    blas_threads.limit_libraries(os.environ)
    # Only now: the kernels and gRPC take a second to import, which --help need not wait for.
    from boardd.commands.control import replace
    from boardd.host.daemon import run

    run(config, replace)


def _status(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = _parser(
        "status",
        "Shows what a running daemon holds and has done: its sessions, its runs, records\n"
        "written, rejected and dropped by reason, and trouble such as a full disk.",
        "exit codes: 0 shown, 1 refused, 2 a wrong setting, 3 no daemon answers",
        timeout_secs=5.0,
    )
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    parser.add_argument(
        "--token-file",
        metavar="PATH",
        type=Path,
        help="token for a daemon on TCP (else in BOARDD_TOKEN, or in the file BOARDD_TOKEN_FILE)",
    )
    parser.add_argument(
        "--tls-ca",
        metavar="PATH",
        type=Path,
        help="PEM file of the authority that signed the daemon's certificate; uses TLS "
        "(else BOARDD_TLS_CA)",
        default=_path_in(environ, "BOARDD_TLS_CA"),
    )
    for name, what in (("cert", "PEM certificate chain"), ("key", "its PEM private key,")):
        parser.add_argument(
            f"--tls-client-{name}",
            metavar="PATH",
            type=Path,
            help=f"{what} for a daemon that asks for one (else BOARDD_TLS_CLIENT_{name.upper()})",
            default=_path_in(environ, f"BOARDD_TLS_CLIENT_{name.upper()}"),
        )
    options = parser.parse_args(arguments)
    if (options.tls_client_cert is None) != (options.tls_client_key is None):
        raise ConfigError("--tls-client-cert and --tls-client-key must be given together")
    where = _address(options, environ)
    from boardd.commands.control import Tls, fetch_status
    from boardd.commands.status import render, to_json
    from boardd.rpc.auth import read_token

    token = ""
    if isinstance(where, address.TcpAddress):
        token_file = options.token_file
        if token_file is None and not (token := environ.get("BOARDD_TOKEN", "").strip()):
            token_file = _path_in(environ, "BOARDD_TOKEN_FILE")
        if token_file is not None:
            token = read_token(token_file)
    tls = None
    if options.tls_ca is not None:
        tls = Tls(options.tls_ca, options.tls_client_cert, options.tls_client_key)
    reply = fetch_status(where, token=token, tls=tls, timeout_secs=options.timeout)
    print(to_json(reply) if options.json else render(reply), flush=True)
    return ExitCode.OK


def _stop(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = _parser(
        "stop",
        "Ends a running daemon, which writes what it holds first, and waits until it is\n"
        "gone. Clients keep what it cannot write in its --drain-secs, for the next daemon.",
        "exit codes: 0 gone, 1 refused or still there, 2 a wrong setting, 3 no daemon",
        timeout_secs=60.0,
    )
    options = parser.parse_args(arguments)
    where = _address(options, environ)
    if not isinstance(where, address.UnixAddress):
        raise ConfigError(
            f"{where}: a daemon is stopped over its Unix socket, on its own host; "
            "give the socket with --socket"
        )
    from boardd.commands.control import stop

    pid = stop(where, timeout_secs=options.timeout)
    print(f"boardd (pid {pid}) has stopped", flush=True)
    return ExitCode.OK


def _merge(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    parser = ArgumentParser(
        prog="boardd merge",
        description="Merges event files of separate ranks, whoever wrote them, into a new logdir.\n"
        "A LOGDIR that holds rank_0, rank_1, ... at any depth has those ranks; else each\n"
        "LOGDIR is one rank, rank 0 first. Inputs are only read.",
        epilog="exit codes: 0 merged, 1 failed, 2 a wrong argument",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"boardd {__version__}")
    parser.add_argument("logdirs", metavar="LOGDIR", type=Path, nargs="+", help="event files")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, required=True, help="the new logdir, which is not there"
    )
    parser.add_argument(
        "--reduce",
        metavar="[TAGS=]HOW",
        type=_reduction,
        action="append",
        default=[],
        help="what is shown of scalars: mean, sum, min, max or last (default: what boardd's own "
        "files say, else mean); may be repeated, for instance: --reduce sum --reduce 'lr*=last'",
    )
    parser.add_argument(
        "--max-open-mib",
        metavar="MIB",
        type=_positive,
        default=1024,
        help="memory for values that wait for other ranks (default: 1024)",
    )
    options = parser.parse_args(arguments)
    from boardd.merge.merge import merge
    from boardd.merge.merge_run import MergeOptions

    merge_options = MergeOptions(tuple(options.reduce), options.max_open_mib << 20)
    for report in merge(options.logdirs, options.out, merge_options):
        for warning in report.warnings():
            print(f"boardd: {warning}", file=sys.stderr)
        run = options.out / report.path
        print(f"{run}: {report.points} points of {len(report.ranks)} ranks", flush=True)
    return ExitCode.OK


def _parser(
    command: str, description: str, epilog: str, *, timeout_secs: float
) -> argparse.ArgumentParser:
    parser = ArgumentParser(
        prog=f"boardd {command}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"boardd {__version__}")
    parser.add_argument(
        "--timeout",
        metavar="SECS",
        type=_seconds,
        default=timeout_secs,
        help=f"the longest wait (default: {timeout_secs:g})",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--address",
        metavar="ADDRESS",
        help="unix:/path or HOST:PORT (else BOARDD_ADDRESS, BOARDD_SOCKET, this user's daemon)",
    )
    which.add_argument("--socket", metavar="PATH", help="the same as --address unix:PATH")
    return parser


def _path_in(environ: Mapping[str, str], variable: str) -> Path | None:
    text = environ.get(variable, "")
    return Path(text).expanduser() if text else None


def _seconds(text: str) -> float:
    value = float(text) if text.replace(".", "", 1).isdecimal() else -1.0
    if not 0 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds from 0 to 86400")
    return value


def _positive(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1 << 20:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 to 1048576")
    return int(text)


def _reduction(text: str) -> tuple[str, str]:
    """A pattern of tags, and how their scalars merge."""
    pattern, _, how = text.rpartition("=")
    if how not in REDUCTIONS:
        raise argparse.ArgumentTypeError(f"{how!r}: expected one of {', '.join(REDUCTIONS)}")
    return pattern or "*", how


def _address(options: argparse.Namespace, environ: Mapping[str, str]) -> address.Address:
    socket = options.socket
    text = options.address
    if not socket and not text:
        text = environ.get("BOARDD_ADDRESS", "")
        socket = "" if text else environ.get("BOARDD_SOCKET", "")
    if socket:
        text = f"unix:{os.path.abspath(os.path.expanduser(socket.removeprefix('unix:')))}"
    try:
        return address.parse(text) if text else address.default_address()
    except address.AddressError as error:
        raise ConfigError(str(error)) from None
