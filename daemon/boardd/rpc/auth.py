"""Who may connect over TCP: a bearer token, and TLS certificates.

The Unix socket needs neither: the directory around it keeps other users out.
A client sends ``authorization: Bearer <token>`` with every call.
"""

from __future__ import annotations

import hmac
import inspect
import logging
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
from boardd_protos.reasons import AUTHORIZATION

from boardd.errors import ConfigError
from boardd.rpc.newcomers import Newcomers
from boardd.rpc.tcp_connections import peer_of

_logger = logging.getLogger(__name__)

#: Below this a token could be guessed.
MIN_TOKEN_CHARACTERS = 16

#: Probes of an orchestrator carry no token, and learn only whether the daemon serves.
_PUBLIC_PREFIX = "/grpc.health.v1.Health/"

#: By whether requests and responses are streams.
_HANDLERS: Final = {
    (False, False): (grpc.unary_unary_rpc_method_handler, "unary_unary"),
    (False, True): (grpc.unary_stream_rpc_method_handler, "unary_stream"),
    (True, False): (grpc.stream_unary_rpc_method_handler, "stream_unary"),
    (True, True): (grpc.stream_stream_rpc_method_handler, "stream_stream"),
}

_Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Any]]


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


def server_credentials(
    certificate: Path, key: Path, client_ca: Path | None = None
) -> grpc.ServerCredentials:
    """TLS credentials from a PEM certificate chain and its private key.

    With ``client_ca``, a PEM file of authorities, only clients that show a certificate of
    one of them are served.

    Raises ``ConfigError`` when a file cannot be read or is no PEM.
    """
    chain = _read(certificate, "TLS certificate")
    private_key = _read(key, "TLS key")
    if b"BEGIN CERTIFICATE" not in chain:
        raise ConfigError(f"TLS certificate {certificate}: no PEM certificate in it")
    if b"PRIVATE KEY" not in private_key:
        raise ConfigError(f"TLS key {key}: no PEM private key in it")
    authorities = None if client_ca is None else _read(client_ca, "authority of clients")
    if authorities is not None and b"BEGIN CERTIFICATE" not in authorities:
        raise ConfigError(f"authority of clients {client_ca}: no PEM certificate in it")
    return grpc.ssl_server_credentials(
        [(private_key, chain)], authorities, require_client_auth=authorities is not None
    )


def _read(path: Path, what: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(1 << 20)
    except OSError as error:
        raise ConfigError(f"{what} {os.fspath(path)}: {error.strerror}") from None


class AdmissionInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Tells ``newcomers`` of connections on which a call is let in, health checks excepted.

    Comes after the interceptors that refuse calls.
    """

    def __init__(self, newcomers: Newcomers) -> None:
        self._newcomers = newcomers

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Passes the call on; its peer is let in when the call begins."""
        handler = await continuation(handler_call_details)
        if handler is None or _is_public(handler_call_details):
            return handler
        make, shape = _HANDLERS[handler.request_streaming, handler.response_streaming]
        serve = getattr(handler, shape)
        if not inspect.iscoroutinefunction(serve):  # reflection, which is over in a moment
            return handler

        async def served(request: object, context: grpc.aio.ServicerContext) -> Any:
            peer = peer_of(context.peer())
            if peer is not None:
                self._newcomers.let_in(peer)
            return await serve(request, context)

        return make(served, handler.request_deserializer, handler.response_serializer)


class TokenInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[misc]
    """Refuses every call that does not carry the token, health checks excepted."""

    def __init__(self, token: str) -> None:
        self._expected = f"Bearer {token}".encode()

        async def refuse(request: object, context: grpc.aio.ServicerContext) -> None:
            _logger.warning(
                "call over TCP refused, token missing or wrong, from %s", context.peer()
            )
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED,
                "token missing or wrong; set BOARDD_TOKEN_FILE to a file with the token that the "
                "daemon was given by --token-file, or BOARDD_TOKEN to the token itself (header "
                "'authorization: Bearer <token>')",
            )

        # Ends a call of any kind before its first message.
        self._refusal = grpc.stream_stream_rpc_method_handler(refuse)

    async def intercept_service(
        self, continuation: _Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Any:
        """Passes the call on, or hands back a handler that refuses it."""
        if _is_public(handler_call_details) or self._accepts(
            handler_call_details.invocation_metadata
        ):
            return await continuation(handler_call_details)
        return self._refusal

    def _accepts(self, metadata: Any) -> bool:
        offered = [value for key, value in metadata if key == AUTHORIZATION]
        # compare_digest takes as long for a wrong token as for the right one.
        return len(offered) == 1 and hmac.compare_digest(_as_bytes(offered[0]), self._expected)


def _is_public(details: grpc.HandlerCallDetails) -> bool:
    return bool(details.method.startswith(_PUBLIC_PREFIX))


def _as_bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
