"""The flags that commands have in common: which daemon is asked, and how long it may take."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from boardd_protos import __version__, address

from boardd.errors import ConfigError
from boardd.settings.arguments import ArgumentParser


class Tls(NamedTuple):
    """PEM files: the authorities of the daemon's certificate, and what is shown to it."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None


class Access(NamedTuple):
    """Which daemon is asked, and what it is shown."""

    where: address.Address
    token: str = ""
    tls: Tls | None = None


def command_parser(command: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """A parser for ``boardd command`` with ``--version``."""
    parser = ArgumentParser(
        prog=f"boardd {command}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"boardd {__version__}")
    return parser


def add_timeout(parser: argparse.ArgumentParser, timeout_secs: float) -> None:
    """Adds ``--timeout``."""
    parser.add_argument(
        "--timeout",
        metavar="SECS",
        type=seconds,
        default=timeout_secs,
        help=f"the longest wait (default: {timeout_secs:g})",
    )


def add_address(parser: argparse.ArgumentParser) -> None:
    """Adds ``--address`` and ``--socket``, see ``asked_address``."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--address",
        metavar="ADDRESS",
        help="unix:/path or HOST:PORT (else BOARDD_ADDRESS, BOARDD_SOCKET, this user's daemon)",
    )
    which.add_argument("--socket", metavar="PATH", help="the same as --address unix:PATH")


def add_access(parser: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Adds the flags of a command that asks a daemon anywhere, see ``access``."""
    add_address(parser)
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


def access(options: argparse.Namespace, environ: Mapping[str, str]) -> Access:
    """What the flags of ``add_access`` and ``environ`` say. Raises ``ConfigError``."""
    if (options.tls_client_cert is None) != (options.tls_client_key is None):
        raise ConfigError("--tls-client-cert and --tls-client-key must be given together")
    where = asked_address(options, environ)
    token = ""
    if isinstance(where, address.TcpAddress):
        token_file = options.token_file
        if token_file is None and not (token := environ.get("BOARDD_TOKEN", "").strip()):
            token_file = _path_in(environ, "BOARDD_TOKEN_FILE")
        if token_file is not None:
            from boardd.rpc.auth import read_token

            token = read_token(token_file)
    tls = None
    if options.tls_ca is not None:
        tls = Tls(options.tls_ca, options.tls_client_cert, options.tls_client_key)
    return Access(where, token, tls)


def asked_address(options: argparse.Namespace, environ: Mapping[str, str]) -> address.Address:
    """The daemon's address from ``--address``, ``--socket``, ``environ`` or the user's own.

    Raises ``ConfigError`` for what is no address.
    """
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


def seconds(text: str) -> float:
    """A number of seconds from 0 to a day, for ``argparse``."""
    value = float(text) if text.replace(".", "", 1).isdecimal() else -1.0
    if not 0 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds from 0 to 86400")
    return value


def interval(text: str) -> float:
    """Seconds between two looks, at least 0.1, for ``argparse``."""
    value = seconds(text)
    if value < 0.1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds from 0.1 to 86400")
    return value


def _path_in(environ: Mapping[str, str], variable: str) -> Path | None:
    text = environ.get(variable, "")
    return Path(text).expanduser() if text else None
