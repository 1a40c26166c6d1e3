"""The relay to a daemon that asks for a certificate."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc.aio
import pytest
from boardd.errors import ConfigError
from boardd.relay.grpc_relay import GrpcRelay
from boardd.relay.relay import Batch, UnreachableError
from boardd.rpc.auth import server_credentials
from boardd.rpc.handlers import add_relay
from boardd.rpc.relay_service import RelayService
from boardd_protos.address import TcpAddress
from support.certificates import Authority, Certificate

BATCH = Batch(b"p" * 16, "run", 0, 1, 0, b"x")


async def take(batch: Batch) -> int:
    return batch.end


async def sent(authority: Authority, server: Certificate, client: Certificate | None) -> int:
    """Sends a batch, with a certificate or without."""
    credentials = server_credentials(
        Path(server.chain), Path(server.key), Path(authority.certificate)
    )
    aggregator = grpc.aio.server()
    add_relay(RelayService(take), aggregator)
    port = aggregator.add_secure_port("localhost:0", credentials)
    await aggregator.start()
    relay = GrpcRelay(
        TcpAddress("localhost", port),
        ca=Path(authority.certificate),
        certificate=None if client is None else Path(client.chain),
        key=None if client is None else Path(client.key),
    )
    try:
        return await relay.send(BATCH)
    finally:
        await relay.close()
        await aggregator.stop(None)


def test_a_daemon_that_asks_for_a_certificate_takes_it(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, client = authority.sign("server"), authority.sign("client")
    assert asyncio.run(sent(authority, server, client)) == 1
    with pytest.raises(UnreachableError, match=r"hung up.*set --forward-cert"):
        asyncio.run(sent(authority, server, None))
    mixed = Certificate(client.chain, server.key)
    with pytest.raises(UnreachableError, match="--forward-cert and its key do not belong together"):
        asyncio.run(sent(authority, server, mixed))


@pytest.mark.parametrize("wrong", ["certificate", "key"])
def test_a_certificate_and_its_key_are_not_exchanged(wrong: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.sign("client")
    files = {"certificate": Path(client.chain), "key": Path(client.key)}
    files[wrong] = files["key" if wrong == "certificate" else "certificate"]

    async def make() -> None:
        ca = Path(authority.certificate)
        await GrpcRelay(TcpAddress("localhost", 1), ca=ca, **files).close()

    flag = {"certificate": "--forward-cert", "key": "--forward-key"}[wrong]
    with pytest.raises(ConfigError, match=rf"{flag} .*: no PEM"):
        asyncio.run(make())
