from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from boardd.errors import ConfigError
from boardd.relay.grpc_relay import GrpcRelay
from boardd.relay.relay import Batch, UnreachableError
from boardd_protos.address import TcpAddress

BATCH = Batch(b"p" * 16, "run", 0, 1, 0, b"x")


def made(host: str, ca: Path | None = None, token: str = "") -> None:
    async def make() -> None:
        await GrpcRelay(TcpAddress(host, 1), ca=ca, token=token).close()

    asyncio.run(make())


def test_a_token_does_not_cross_the_network_in_clear() -> None:
    with pytest.raises(ConfigError, match="--forward-ca"):
        made("10.0.0.1", token="t" * 20)
    made("127.0.0.1", token="t" * 20)


def test_an_authority_must_be_a_certificate(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        made("10.0.0.1", tmp_path / "none")
    (tmp_path / "text").write_text("no certificate")
    with pytest.raises(ConfigError, match="no PEM certificate"):
        made("10.0.0.1", tmp_path / "text")


def test_a_relay_that_is_closed_reaches_nobody() -> None:
    async def story() -> None:
        relay = GrpcRelay(TcpAddress("127.0.0.1", 1))
        await relay.close()
        with pytest.raises(UnreachableError):
            await relay.send(BATCH)

    asyncio.run(story())
