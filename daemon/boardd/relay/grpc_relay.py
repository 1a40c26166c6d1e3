"""The relay from daemon to daemon: gRPC over TCP, with TLS and a token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
from boardd_protos import relay_pb2 as pb
from boardd_protos.address import TcpAddress
from boardd_protos.reasons import AUTHORIZATION
from boardd_protos.relay_pb2_grpc import RelayStub
from boardd_protos.tls import tls_advice

from boardd.errors import ConfigError
from boardd.relay.relay import CHUNK_BYTES, Batch, NotTakenError, UnreachableError, longest_secs

#: That the batch was not taken, and why, is known; another try ends in the same way.
_REFUSALS: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)
_OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.enable_retries", 0),
    # A link that is cut says nothing; a call must not wait for it until its deadline.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


class GrpcRelay:
    """Carries batches to the daemon at ``address``. See ``Relay``. For one event loop.

    ``ca`` is a PEM file of the authority that signed its certificate; None: no TLS.
    ``certificate`` and ``key``, PEM files, show who this daemon is, if that one asks; they
    need ``ca``. ``token`` goes with every call; empty: none.

    Raises ``ConfigError`` if a file cannot be read, or the token would cross the network
    in clear.
    """

    def __init__(
        self,
        address: TcpAddress,
        *,
        ca: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        token: str = "",
    ) -> None:
        self._address = address
        self._metadata = ((AUTHORIZATION, f"Bearer {token}"),) if token else None
        if token and ca is None and not address.is_loopback:
            raise ConfigError(
                f"--forward-to {address}: the token would cross the network in clear; give "
                "--forward-ca, the PEM file of the authority that signed the certificate there"
            )
        self._is_tls = ca is not None
        self._channel = _make_channel(address, ca, certificate, key)
        self._send: Any = RelayStub(self._channel).Send

    async def send(self, batch: Batch) -> int:
        """See ``Relay``."""
        timeout_secs = longest_secs(len(batch.data))
        try:
            reply = await self._send(
                _requests(batch), timeout=timeout_secs, metadata=self._metadata
            )
        except grpc.aio.AioRpcError as error:
            details = error.details() or ""
            advice = tls_advice(
                details, ca="--forward-ca", certificate="--forward-cert", is_tls=self._is_tls
            )
            text = f"{self._address}: {error.code().name}: "
            text += f"{advice} ({details})" if advice else details
            if error.code() in _REFUSALS:
                raise NotTakenError(text) from None
            raise UnreachableError(text) from None
        except grpc.aio.UsageError:
            raise UnreachableError(f"{self._address}: the relay is closed") from None
        return int(reply.position)

    async def close(self) -> None:
        """See ``Relay``."""
        await self._channel.close()


def _make_channel(
    address: TcpAddress, ca: Path | None, certificate: Path | None, key: Path | None
) -> grpc.aio.Channel:
    options = list(_OPTIONS)
    if address.is_loopback:
        options.append(("grpc.enable_http_proxy", 0))
    if ca is None:
        return grpc.aio.insecure_channel(address.target, options)
    credentials = grpc.ssl_channel_credentials(
        _pem(ca, "--forward-ca", "CERTIFICATE"),
        None if key is None else _pem(key, "--forward-key", "PRIVATE KEY"),
        None if certificate is None else _pem(certificate, "--forward-cert", "CERTIFICATE"),
    )
    return grpc.aio.secure_channel(address.target, credentials, options)


def _pem(path: Path, flag: str, kind: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{flag} {path}: {error.strerror}") from None
    if kind.encode() not in content:
        raise ConfigError(f"{flag} {path}: no PEM {kind.lower()} in it")
    return content


def _requests(batch: Batch) -> Iterator[pb.SendRequest]:
    header = pb.BatchHeader(
        producer=batch.producer,
        run=batch.run,
        first=batch.first,
        end=batch.end,
        oldest=batch.oldest,
    )
    yield pb.SendRequest(header=header, data=batch.data[:CHUNK_BYTES])
    for start in range(CHUNK_BYTES, len(batch.data), CHUNK_BYTES):
        yield pb.SendRequest(data=batch.data[start : start + CHUNK_BYTES])
