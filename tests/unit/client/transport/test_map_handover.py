"""The handover of a session's maps, against a socket that a test answers."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from boardd_client.memory.maps import Map
from boardd_client.transport import map_handover
from boardd_client.transport.connection import ConnectionFailedError
from boardd_client.transport.map_handover import MapHandover
from boardd_protos.address import UnixAddress
from boardd_protos.local_socket import HANDOVER_SUFFIX
from boardd_protos.shared import HANDOVER_BYTES, HandoverReply


@pytest.fixture
def listener(runtime_directory: Path) -> Iterator[socket.socket]:
    """Where a daemon at ``runtime_directory / "b.sock"`` takes maps."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as bound:
        bound.bind(f"{runtime_directory}/b.sock{HANDOVER_SUFFIX}")
        bound.listen()
        yield bound


def test_a_daemon_that_does_not_answer_in_time_gets_the_maps_anew(
    listener: socket.socket, runtime_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers: list[socket.socket] = []

    def take(*, answers: bool) -> None:
        peer, _ = listener.accept()
        peers.append(peer)
        _, descriptors, _, _ = socket.recv_fds(peer, HANDOVER_BYTES, 2)
        for descriptor in descriptors:
            socket.close(descriptor)
        if answers:
            peer.send(HandoverReply().encode())

    def hand_over(*, answers: bool) -> bool:
        taking = threading.Thread(target=take, kwargs={"answers": answers})
        taking.start()
        try:
            return handover.hand_over(made, log, is_held=bool(peers) and answers)
        finally:
            taking.join()

    made = Map(8192, is_shared=True)
    log = os.memfd_create("log")
    handover = MapHandover(UnixAddress(f"{runtime_directory}/b.sock"), bytes(16))
    assert hand_over(answers=True)
    monkeypatch.setattr(map_handover, "HANDOVER_SECS", 0.05)
    with pytest.raises(ConnectionFailedError):
        hand_over(answers=False)
    # It took the maps over the connection that was given up, and says that it holds them.
    monkeypatch.setattr(map_handover, "HANDOVER_SECS", 5.0)
    assert hand_over(answers=True)
    assert len(peers) == 3
    handover.close()
    made.release()
    os.close(log)
    for peer in peers:
        assert peer.recv(1) == b""
        peer.close()
