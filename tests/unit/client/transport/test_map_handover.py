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
from boardd_client.transport.map_handover import HandoverFailedError, MapHandover
from boardd_protos.address import UnixAddress
from boardd_protos.local_socket import HANDOVER_SUFFIX
from boardd_protos.shared import HANDOVER_BYTES, Handover, HandoverReply
from support.waiting import wait_until


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


def test_a_map_that_is_refused_sends_the_records_another_way(
    listener: socket.socket, runtime_directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refusals = {0: "", 1: "", 2: "too much"}

    def answer() -> None:
        peer, _ = listener.accept()
        with peer:
            while data := peer.recv(HANDOVER_BYTES):
                number = Handover.decode(data).map_number
                peer.send(HandoverReply(refusals[number], number).encode())

    answering = threading.Thread(target=answer)
    answering.start()
    made = {number: Map(8192, is_shared=True) for number in range(4)}
    log = os.memfd_create("log")
    handover = MapHandover(UnixAddress(f"{runtime_directory}/b.sock"), bytes(16))
    assert handover.hand_over(made[0], log, is_held=False)
    handover.share(1, made[1])
    assert handover.share_all({1: made[1]}, 20)
    assert handover.hand_over(made[0], log, is_held=True)
    handover.share(2, made[2])
    with pytest.raises(HandoverFailedError, match="too much"):
        handover.share_all({1: made[1], 2: made[2]}, 20)
    assert "shares no memory (too much)" in caplog.text
    assert not handover.hand_over(made[0], log, is_held=True)
    handover.share(3, made[3])
    assert handover.share_all(made, 0), "they are asked for nothing more"
    handover.close()
    answering.join(20)
    for each in made.values():
        each.release()
    os.close(log)


def test_maps_are_offered_anew_to_the_daemon_after_the_one_that_ended(
    listener: socket.socket, runtime_directory: Path
) -> None:
    taken = []

    def answer() -> None:
        for _ in range(2):
            peer, _ = listener.accept()
            with peer:
                taken.append(Handover.decode(peer.recv(HANDOVER_BYTES)))
                peer.send(HandoverReply().encode())

    answering = threading.Thread(target=answer)
    answering.start()
    made = Map(8192, is_shared=True)
    log = os.memfd_create("log")
    handover = MapHandover(UnixAddress(f"{runtime_directory}/b.sock"), bytes(16))
    handover.offer(made, log)
    wait_until(lambda: len(taken) == 1)

    def is_offered() -> bool:
        handover.offer(made, log)
        return len(taken) == 2

    wait_until(is_offered)
    answering.join(20)
    handover.close()
    made.release()
    os.close(log)
