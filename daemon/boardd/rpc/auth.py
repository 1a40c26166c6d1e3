"""Who may connect over TCP: a bearer token, and TLS certificates.

The Unix socket needs neither: the directory around it keeps other users out.
A client sends ``authorization: Bearer <token>`` with every call.
"""

from __future__ import annotations

import hmac
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from boardd_protos.reasons import AUTHORIZATION

from boardd.errors import ConfigError

#: Below this a token could be guessed.
MIN_TOKEN_CHARACTERS = 16

#: Probes of an orchestrator carry no token, and learn only whether the daemon serves.
_PUBLIC_PREFIX = "/grpc.health.v1.Health/"


def read_token(path: Path) -> str:
    """Returns the token in ``path``, without the white space around it.

    Raises ``ConfigError`` when the file cannot be read, or what it holds is
    shorter than ``MIN_TOKEN_CHARACTERS`` or not printable ASCII.
    """
    token = _read(path, "token file").strip()
    if len(token) < MIN_TOKEN_CHARACTERS:
        raise ConfigError(
            f"token file {path}: {len(token)} characters; at least {MIN_TOKEN_CHARACTERS} are "
            "needed, for example from: openssl rand -hex 32"
        )
    if not all(0x21 <= byte <= 0x7E for byte in token):
        raise ConfigError(f"token file {path}: a token is printable ASCII without spaces")
    return token.decode()


def is_open_to_others(path: Path) -> bool:
    """Whether users other than the owner and the group may read ``path``."""
    return bool(path.stat().st_mode & stat.S_IROTH)


def server_credentials(certificate: Path, key: Path) -> grpc.ServerCredentials:
    """TLS credentials from a PEM certificate chain and its private key.

    Raises ``ConfigError`` when a file cannot be read or is no PEM.
    """
    chain = _read(certificate, "TLS certificate")
    private_key = _read(key, "TLS key")
    if b"BEGIN CERTIFICATE" not in chain:
        raise ConfigError(f"TLS certificate {certificate}: no PEM certificate in it")
    if b"PRIVATE KEY" not in private_key:
        raise ConfigError(f"TLS key {key}: no PEM private key in it")
    return grpc.ssl_server_credentials([(private_key, chain)])


def _read(path: Path, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError as error:
        raise ConfigError(f"{what} {os.fspath(path)}: {error.strerror}") from None


class TokenInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Refuses every call that does not carry the token, health checks excepted."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

        async def refuse(request: object, context: grpc.aio.ServicerContext) -> None:
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED,
                "token missing or wrong; send 'authorization: Bearer <token>' with the token "
                "that the daemon was given by --token-file",
            )

        # Ends a call of any kind before its first message.
        self._refusal = grpc.stream_stream_rpc_method_handler(refuse)

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Passes the call on, or hands back a handler that refuses it."""
        if handler_call_details.method.startswith(_PUBLIC_PREFIX) or self._accepts(
            handler_call_details.invocation_metadata
        ):
            return await continuation(handler_call_details)
        return self._refusal

    def _accepts(self, metadata: Any) -> bool:
        offered = [value for key, value in metadata if key == AUTHORIZATION]
        # compare_digest takes as long for a wrong token as for the right one.
        return len(offered) == 1 and hmac.compare_digest(_as_bytes(offered[0]), self._expected)


def _as_bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
