from __future__ import annotations

from boardd_client.transport.outbox import Outbox
from boardd_protos import boardd_pb2 as pb


def test_an_outbox_has_room_up_to_its_capacity_and_says_when_again() -> None:
    rooms: list[int] = []
    outbox = Outbox(lambda: rooms.append(1), capacity_bytes=100)
    message = pb.ClientMessage(records=pb.Records(frames=bytes(100)))
    assert outbox.has_room()
    outbox.put(message)
    assert not outbox.has_room()
    assert next(outbox) is message
    assert rooms == [1]
    assert outbox.has_room()
    outbox.put(message)
    outbox.close()
    assert list(outbox) == [message]
    assert not outbox.has_room()
