"""What the environment sets for the client, read when a writer is made.

=============================  ==========================================================
``BOARDD_ADDRESS``             where the daemon is, for writers without ``address``
``BOARDD_LOG_BYTES``           budget for records not yet written (default 8 MiB)
``BOARDD_ARENA_BYTES``         budget for their tensors (default 256 MiB, or an eighth of the
                               control groups' limit if that is less)
``BOARDD_LARGE_TENSOR_BYTES``  budget for tensors that are larger than the arena or find it full,
                               each in memory of its own (default 1 GiB, or a quarter of that
                               limit; 0 drops them)
``BOARDD_SHARED_MEMORY``       0 shares no memory with a daemon on this host (default 1)
``BOARDD_SCALAR_HISTORY_BYTES``  budget for ``export_scalars`` (default 64 MiB; 0 keeps nothing)
``BOARDD_BLOCK_TIMEOUT_SECS``  longest wait of a call with ``on_full="block"`` (default 60)
``BOARDD_EXIT_TIMEOUT_SECS``   longest wait at the end of the process (default 10)
``BOARDD_EPOCH``               what orders the writers of a run in time, for several processes of
                               one restart (default: each writer's time of construction)
``BOARDD_REDUCE``              how scalars of several ranks become one, for writers without
                               ``reduce`` (default ``mean``)
``BOARDD_PER_RANK``            what each rank keeps of its own, for writers without ``per_rank``
                               (default ``scalars``)
``BOARDD_SYSTEM_METRICS``      0: no ``system/...``, for writers without ``system_metrics``
                               (default 1)
``BOARDD_PROVENANCE``          0: no text that says where a run came from, for writers without
                               ``provenance`` (default 1)
``BOARDD_TOKEN_FILE``          file with the bearer token for a daemon over TCP
``BOARDD_TOKEN``               the token itself, which ``ps`` and ``/proc`` show to this user
``BOARDD_TLS_CA``              PEM file of the authority that signed the daemon's certificate
``BOARDD_TLS_CLIENT_CERT``     PEM certificate chain, for a daemon that asks clients for one
``BOARDD_TLS_CLIENT_KEY``      its PEM private key
=============================  ==========================================================
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from boardd_protos import address as addresses
from boardd_protos.address import Address, TcpAddress
from boardd_protos.merging import PER_RANK, REDUCTIONS
from boardd_protos.variables import misspelt

_logger = logging.getLogger("boardd_client")

MEBIBYTE = 1 << 20

_warned: set[str] = set()

_Default = TypeVar("_Default")


@dataclass(frozen=True)
class Access:
    """What a daemon over TCP is shown, and asked for. Files are read at each connection.

    ``from_environ`` makes their paths absolute, so that they outlast a change of directory.
    """

    token: str = field(default="", repr=False)
    token_file: str = ""
    tls_ca: str = ""  #: empty: no TLS
    tls_client_cert: str = ""
    tls_client_key: str = ""

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Access:
        """Reads ``environ``.

        Raises ``ValueError``, which names the variable, if one of them needs another.
        """
        access = cls(
            token=environ.get("BOARDD_TOKEN", "").strip(),
            token_file=_path(environ, "BOARDD_TOKEN_FILE"),
            tls_ca=_path(environ, "BOARDD_TLS_CA"),
            tls_client_cert=_path(environ, "BOARDD_TLS_CLIENT_CERT"),
            tls_client_key=_path(environ, "BOARDD_TLS_CLIENT_KEY"),
        )
        if bool(access.tls_client_cert) != bool(access.tls_client_key):
            raise ValueError("BOARDD_TLS_CLIENT_CERT and BOARDD_TLS_CLIENT_KEY go together")
        if access.tls_client_cert and not access.tls_ca:
            raise ValueError("BOARDD_TLS_CLIENT_CERT needs BOARDD_TLS_CA: it goes with TLS only")
        return access

    @property
    def has_token(self) -> bool:
        """Whether a token is shown."""
        return bool(self.token or self.token_file)


@dataclass(frozen=True)
class Settings:
    """The environment's settings, with defaults for what it leaves out."""

    address: str = ""
    log_bytes: int = 8 * MEBIBYTE
    arena_bytes: int | None = None  #: None: as much as the machine suggests
    large_tensor_bytes: int | None = None
    shared_memory: bool = True
    scalar_history_bytes: int = 64 * MEBIBYTE
    block_timeout_secs: float = 60.0
    exit_timeout_secs: float = 10.0
    access: Access = Access()
    epoch: int = 0
    reduce: str = "mean"
    per_rank: str = "scalars"
    system_metrics: bool = True
    provenance: bool = True

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Reads ``environ``; warns once of each variable whose name is misspelt.

        Raises ``ValueError``, which names the variable, for a text that is not a
        number, is out of range or is none of the words that are expected.
        """
        _warn_of_misspelt(environ)
        return cls(
            address=environ.get("BOARDD_ADDRESS", ""),
            log_bytes=_bytes(environ, "BOARDD_LOG_BYTES", 64 << 10, cls.log_bytes),
            arena_bytes=_bytes(environ, "BOARDD_ARENA_BYTES", 64 << 10, cls.arena_bytes),
            large_tensor_bytes=_bytes(
                environ, "BOARDD_LARGE_TENSOR_BYTES", 0, cls.large_tensor_bytes
            ),
            shared_memory=_flag(environ, "BOARDD_SHARED_MEMORY", default=cls.shared_memory),
            scalar_history_bytes=_bytes(
                environ, "BOARDD_SCALAR_HISTORY_BYTES", 0, cls.scalar_history_bytes
            ),
            block_timeout_secs=_secs(environ, "BOARDD_BLOCK_TIMEOUT_SECS", cls.block_timeout_secs),
            exit_timeout_secs=_secs(environ, "BOARDD_EXIT_TIMEOUT_SECS", cls.exit_timeout_secs),
            access=Access.from_environ(environ),
            epoch=_epoch(environ, "BOARDD_EPOCH"),
            reduce=_choice(environ, "BOARDD_REDUCE", REDUCTIONS, cls.reduce),
            per_rank=_choice(environ, "BOARDD_PER_RANK", PER_RANK, cls.per_rank),
            system_metrics=_flag(environ, "BOARDD_SYSTEM_METRICS", default=cls.system_metrics),
            provenance=_flag(environ, "BOARDD_PROVENANCE", default=cls.provenance),
        )

    def address_of(self, address: object) -> Address:
        """Where the daemon of a writer with ``address`` is; None: where these say, or by default.

        Raises ``TypeError``, and ``AddressError`` for a text that is no address.
        """
        if address is None:
            return addresses.parse(self.address) if self.address else addresses.default_address()
        if not isinstance(address, str):
            raise TypeError(f"address is a {type(address).__name__}, expected a str")
        return addresses.parse(address)


def token_in_clear(address: Address, access: Access) -> str:
    """Why the token may not be sent to ``address``; empty if it may, or if there is none."""
    if access.tls_ca or not isinstance(address, TcpAddress) or address.is_loopback:
        return ""
    if not access.has_token:
        return ""
    name = "BOARDD_TOKEN" if access.token else "BOARDD_TOKEN_FILE"
    return (
        f"{name}: the token would cross the network to {address} in clear; set BOARDD_TLS_CA to "
        "the PEM file of the authority that signed the daemon's certificate (boardd --tls-cert "
        "--tls-key)"
    )


def _warn_of_misspelt(environ: Mapping[str, str]) -> None:
    for name, meant in misspelt(environ).items():
        if name not in _warned:
            _warned.add(name)
            _logger.warning("boardd: ignoring %s: did you mean %s?", name, meant)


def _path(environ: Mapping[str, str], name: str) -> str:
    path = environ.get(name, "")
    return os.path.abspath(path) if path else ""


def _bytes(environ: Mapping[str, str], name: str, least: int, default: _Default) -> int | _Default:
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = int(text)
    except ValueError:
        raise ValueError(f"{name}={text!r}: expected a whole number of bytes") from None
    # A padding frame of the ring holds its length in 32 bits.
    if not least <= value < 1 << 48 or (name == "BOARDD_LOG_BYTES" and value >= 1 << 32):
        raise ValueError(f"{name}={text!r}: out of range, expected at least {least} bytes")
    return value


def _epoch(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "").strip()
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 64):
        raise ValueError(f"{name}={text!r}: expected a whole number from 1 to {(1 << 64) - 1}")
    return int(text)


def _choice(environ: Mapping[str, str], name: str, choices: tuple[str, ...], default: str) -> str:
    text = environ.get(name, "").strip() or default
    if text not in choices:
        raise ValueError(f"{name}={text!r}: expected one of {', '.join(choices)}")
    return text


def _flag(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environ.get(name, "").strip()
    if text not in ("", "0", "1"):
        raise ValueError(f"{name}={text!r}: expected 0 or 1")
    return text == "1" if text else default


def _secs(environ: Mapping[str, str], name: str, default: float) -> float:
    text = environ.get(name, "").strip()
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{name}={text!r}: expected seconds") from None
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{name}={text!r}: expected a finite number of seconds, 0 or more")
    return value
