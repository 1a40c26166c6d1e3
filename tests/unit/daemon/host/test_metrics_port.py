"""The port of metrics: scraped, flooded, asked by foreign pages, and taken."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

import pytest
from boardd.errors import AddressTakenError, ConfigError
from boardd.host.metrics_port import ANSWER_SECS, MAX_PEERS, MetricsPort
from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import TcpAddress

_DEADLINE_SECS = 60.0
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def status() -> pb.StatusReply:
    return pb.StatusReply(version="1.2", counters=pb.Counters(written=3))


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), _DEADLINE_SECS))


@contextlib.asynccontextmanager
async def serving(
    status: Callable[[], Awaitable[pb.StatusReply]] = status, answer_secs: float = ANSWER_SECS
) -> AsyncIterator[MetricsPort]:
    port = MetricsPort(TcpAddress("127.0.0.1", 0), status, answer_secs)
    await port.start()
    try:
        yield port
    finally:
        await port.close()


async def connected(port: MetricsPort) -> Connection:
    return await asyncio.open_connection(port.address.host, port.address.port)


async def told(connection: Connection) -> str:
    """What comes until the port closes the connection; empty if it does so by force."""
    reader, writer = connection
    try:
        return (await reader.read()).decode()
    except ConnectionResetError:
        return ""
    finally:
        writer.close()


async def asked(port: MetricsPort, request: str) -> tuple[str, str]:
    """The status line, and all the rest."""
    connection = await connected(port)
    connection[1].write(request.encode())
    line, _, rest = (await told(connection)).partition("\r\n")
    return line, rest


def get(
    path: str = "/metrics", host: str = "localhost", method: str = "GET", more: str = ""
) -> str:
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n"


OK = "HTTP/1.1 200 OK"


def test_a_scrape_has_the_status() -> None:
    async def test() -> None:
        async with serving() as port:
            line, rest = await asked(port, get("/metrics?name=x"))
            assert line == OK
            assert "text/plain" in rest
            assert "boardd_records_written_total 3.0" in rest
            assert 'boardd_info{version="1.2"} 1.0' in rest
            line, rest = await asked(port, get(more="Accept: application/openmetrics-text\r\n"))
            assert rest.endswith("# EOF\n")
            line, rest = await asked(port, get(method="HEAD"))
            assert line == OK
            assert rest.endswith("\r\n\r\n")
            line, rest = await asked(port, get("/"))
            assert 'href="/metrics"' in rest

    run(test)


@pytest.mark.parametrize(
    ("request_text", "answer"),
    [
        (get("/"), "200"),
        (get(host="127.0.0.1:1"), "200"),
        (get(host="LOCALHOST"), "200"),
        (get(host="[::1]:9654"), "200"),
        (get(host="evil.example"), "421"),
        (get(host="localhost.evil.example"), "421"),
        (get(host="[::1"), "421"),
        (get(host=""), "421"),
        ("GET /metrics HTTP/1.0\r\n\r\n", "421"),
        ("GET /metrics HTTP/1.1\r\n\r\n", "400"),
        (get(more="Host: evil.example\r\n"), "400"),
        (get("/metrics/"), "404"),
        (get("//metrics"), "404"),
        (get(method="POST"), "405"),
        ("\x16\x03\x01 a hello of TLS\r\n\r\n", "400"),
        (get(more=f"X: {'x' * (32 << 10)}"), "431"),
    ],
)
def test_who_may_ask_and_for_what(request_text: str, answer: str) -> None:
    async def test() -> None:
        async with serving() as port:
            line, rest = await asked(port, request_text)
            assert line.split()[1] == answer
            assert ("boardd_info" in rest) == (answer == "200" and "/metrics" in request_text)

    run(test)


def test_the_oldest_of_too_many_makes_room_and_prometheus_is_never_kept_out() -> None:
    async def test() -> None:
        async with serving() as port:
            silent = [await connected(port) for _ in range(MAX_PEERS)]
            silent[0][1].write(b"GET /met")
            assert (await asked(port, get()))[0] == OK
            assert await told(silent[0]) == "", "it had its time"
            silent[1][1].write(get().encode())
            assert "boardd_info" in await told(silent[1]), "the others stay"
            for _, writer in silent:
                writer.close()

    run(test)


def test_one_that_has_asked_is_answered_beside_a_crowd_that_says_nothing() -> None:
    async def test() -> None:
        begun, gate = asyncio.Event(), asyncio.Event()

        async def slow() -> pb.StatusReply:
            begun.set()
            await gate.wait()
            return await status()

        async with serving(slow) as port:
            scrape = asyncio.ensure_future(asked(port, get()))
            await begun.wait()
            crowd = [await connected(port) for _ in range(2 * MAX_PEERS)]
            assert await told(crowd[0]) == ""
            gate.set()
            assert (await scrape)[0] == OK
            for _, writer in crowd:
                writer.close()

    run(test)


def test_a_peer_that_drips_has_one_deadline_for_all() -> None:
    async def test() -> None:
        async with serving(answer_secs=0.2) as port:
            connection = await connected(port)
            ended = asyncio.ensure_future(told(connection))
            while not ended.done():
                connection[1].write(b"x")
                await asyncio.wait([ended], timeout=0.02)
            assert await ended == ""

    run(test)


def test_a_status_that_does_not_come_fails_the_scrape_and_no_later_one() -> None:
    async def test() -> None:
        failures = [asyncio.get_running_loop().create_future(), RuntimeError("a defect")]

        async def failing() -> pb.StatusReply:
            if not failures:
                return await status()
            failure = failures.pop()
            if isinstance(failure, Exception):
                raise failure
            await failure
            raise AssertionError

        async with serving(failing, answer_secs=0.2) as port:
            assert await asked(port, get()) == ("", "")
            assert await asked(port, get()) == ("", "")
        async with serving(failing) as port:
            assert (await asked(port, get()))[0] == OK

    run(test)


def test_an_end_does_not_wait_for_peers() -> None:
    async def test() -> None:
        async with serving() as port:
            reader, writer = await connected(port)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()

    run(test)


def test_a_port_that_is_taken_and_one_that_cannot_be() -> None:
    async def test() -> None:
        async with serving() as port:
            with pytest.raises(
                AddressTakenError, match=r"--metrics 127.0.0.1:\d+: another process"
            ):
                MetricsPort(port.address, status)
        with pytest.raises(ConfigError, match=r"--metrics 192\.0\.2\.1:0: Cannot assign"):
            MetricsPort(TcpAddress("192.0.2.1", 0), status)

    run(test)
