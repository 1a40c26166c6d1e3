"""Who may come to the socket for memory, and peers that say nothing there."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from pathlib import Path

import pytest
from boardd.rpc.map_handover import MAX_WAITING
from boardd_protos.local_socket import HANDOVER_SUFFIX
from support.map_handover import first, handing_over, open_files
from support.raw_client import scalar, serving
from support.service_reading import run_async, steps_of
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_another_user_is_turned_away(tmp_path: Path) -> None:
    script = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET);"
        "s.settimeout(20); s.connect(sys.argv[1]); sys.exit(7 if s.recv(99) == b'' else 1)"
    )

    async def test(path: Path) -> None:
        async with serving(path) as harness:
            socket_path = f"{harness.socket}{HANDOVER_SUFFIX}"
            os.chmod(harness.socket.parent, 0o711)
            os.chmod(socket_path, 0o666)
            other = await asyncio.create_subprocess_exec(
                *("/usr/bin/env", "python3", "-I", "-c", script, socket_path),
                user=12345,
                env={"PATH": os.environ["PATH"]},
            )
            assert await other.wait() == 7

    if os.system(f"{sys.executable} -c pass") != 0:  # pragma: no cover
        pytest.skip("no interpreter for another user")
    run_async(test, tmp_path)


# Silence and crowds


def test_a_silent_peer_is_let_go(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with handing_over(path, handover_secs=0.05) as (_, client):
            with await client.connect() as peer:
                assert await client.reply(peer) == "no map came in time"
            # One that has brought its map may be silent for as long as it likes.
            await client.hand_over()
            with await client.connect() as peer:
                assert await client.reply(peer) == "no map came in time"
            assert (await client.open()).holds_maps

    run_async(test, tmp_path)


def test_a_crowd_of_silent_peers_keeps_nobody_out(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with handing_over(path) as (harness, client):
            before = open_files()
            crowd: list[socket.socket] = []
            for _ in range(3 * MAX_WAITING):
                crowd.append(await client.connect())
                await asyncio.sleep(0)
            assert await client.hand_over() == ""
            assert "too many" in await client.reply(crowd[0])
            for peer in crowd:
                peer.close()
            # One end of the connection here, one there, the mapping, its file, the log, and the
            # process, which is not needed any more once the ring is attached.
            await until(lambda: open_files() == before + 6)
            await client.attach(client.here())
            await until(lambda: harness.status().sessions[0].attached)
            await until(lambda: open_files() == before + 5)

    run_async(test, tmp_path)


def test_a_peer_that_hangs_up_at_once_harms_nobody(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with handing_over(path) as (harness, client):
            before = open_files()
            for _ in range(50):
                (await client.connect()).close()
                await asyncio.sleep(0)
                with await client.connect() as peer:
                    socket.send_fds(peer, [first(client)], [client.fd, client.log_fd])
            await until(lambda: open_files() <= before)
            await client.begin()
            await client.log(scalar(2))
            await client.acknowledged(2)
            assert steps_of(harness) == [2]

    run_async(test, tmp_path)
