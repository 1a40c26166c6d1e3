"""The port of metrics: scraped, flooded, taken, and beside an event loop that stands still."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from boardd.errors import AddressTakenError, ConfigError
from boardd.host import metrics_port
from boardd.host.metrics_port import MetricsPort
from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import TcpAddress
from support.waiting import until

_DEADLINE_SECS = 30.0


async def status() -> pb.StatusReply:
    return pb.StatusReply(version="1.2", counters=pb.Counters(written=3))


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[MetricsPort]:
    port = MetricsPort(TcpAddress("127.0.0.1", 0), status)
    try:
        yield port
    finally:
        await asyncio.to_thread(port.close)


def scraped(port: MetricsPort) -> str:
    with urllib.request.urlopen(
        f"http://{port.address.target}/metrics", timeout=_DEADLINE_SECS
    ) as answer:
        assert answer.headers.get_content_type() == "text/plain"
        text: bytes = answer.read()
    return text.decode()


def test_a_scrape_has_the_status() -> None:
    async def test() -> None:
        async with serving() as port:
            text = await asyncio.to_thread(scraped, port)
        assert "boardd_records_written_total 3.0" in text
        assert 'boardd_info{version="1.2"} 1.0' in text

    asyncio.run(test())


def test_silent_peers_take_a_few_places_and_give_them_back() -> None:
    async def test() -> None:
        async with serving() as port:
            where = (port.address.host, port.address.port)
            silent = [socket.create_connection(where) for _ in range(metrics_port._MAX_SCRAPES)]
            await until(lambda: not port._server._places._value, "all places are taken")
            with pytest.raises((OSError, urllib.error.URLError)):
                await asyncio.to_thread(scraped, port)
            for one in silent:
                one.close()
            await until(
                lambda: port._server._places._value == metrics_port._MAX_SCRAPES, "they are back"
            )
            assert "boardd_info" in await asyncio.to_thread(scraped, port)

    asyncio.run(test())


def test_a_loop_that_stands_still_fails_the_scrape_and_no_later_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metrics_port, "_ANSWER_SECS", 0.05)

    async def test() -> None:
        async with serving() as port:
            with ThreadPoolExecutor(1) as threads:  # whose end the loop waits for, standing still
                scrape = threads.submit(scraped, port)
            with pytest.raises(urllib.error.HTTPError, match="503") as refused:
                scrape.result()
            refused.value.close()
            monkeypatch.setattr(metrics_port, "_ANSWER_SECS", _DEADLINE_SECS)
            assert "boardd_info" in await asyncio.to_thread(scraped, port)

    asyncio.run(test())


def test_a_port_that_is_taken_and_one_that_cannot_be() -> None:
    async def test() -> None:
        async with serving() as port:
            with pytest.raises(
                AddressTakenError, match=r"--metrics 127.0.0.1:\d+: another process"
            ):
                MetricsPort(port.address, status)
        with pytest.raises(ConfigError, match=r"--metrics 192\.0\.2\.1:0: Cannot assign"):
            MetricsPort(TcpAddress("192.0.2.1", 0), status)

    asyncio.run(test())
