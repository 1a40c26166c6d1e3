from __future__ import annotations

import logging

import pytest
from boardd_client.transport.connection import ConnectionFailedError, Link
from boardd_client.transport.warn_once import WarnOnce
from boardd_protos import boardd_pb2 as pb
from boardd_protos.shared import Acknowledgement


class Events:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def on_message(self, message: pb.DaemonMessage) -> None:
        self.heard.append(message)

    def on_room(self) -> None:
        self.heard.append("room")

    def on_end(self, error: ConnectionFailedError) -> None:
        self.heard.append(error)


def test_a_link_passes_events_on_until_it_is_cut_and_notes_how_the_connection_fares() -> None:
    events = Events()
    link = Link(events)
    acknowledged = pb.DaemonMessage(acknowledged=pb.Acknowledged(written_sequence=1))
    link.on_message(acknowledged)
    link.on_room()
    assert events.heard == [acknowledged, "room"]
    assert (link.is_leaving, link.error) == (False, None)
    link.cut()
    link.on_message(pb.DaemonMessage(draining=pb.Draining()))
    link.on_room()
    error = ConnectionFailedError("UNAVAILABLE", "gone")
    link.on_end(error)
    assert len(events.heard) == 2
    assert (link.is_leaving, link.error) == (True, error)


def told(written_sequence: int) -> pb.DaemonMessage:
    return pb.DaemonMessage(acknowledged=pb.Acknowledged(written_sequence=written_sequence))


def test_an_acknowledgement_beside_the_stream_takes_its_place_in_it() -> None:
    events = Events()
    link = Link(events)
    rejected = pb.DaemonMessage(rejected=pb.Rejected(sequence=3))
    link.on_acknowledgement(Acknowledgement(link.number, 0, 1))
    assert events.heard == [told(1)]
    link.on_acknowledgement(Acknowledgement(link.number, 1, 3))
    assert len(events.heard) == 1, "it covers what the stream has yet to say"
    link.on_message(rejected)
    assert events.heard[1:] == [rejected, told(3)]
    link.on_acknowledgement(Acknowledgement(link.number, 0, 2))
    link.on_acknowledgement(Acknowledgement(link.number + 1, 1, 4))
    assert len(events.heard) == 3, "one that the stream has overtaken, and another stream's"
    link.cut()
    link.on_acknowledgement(Acknowledgement(link.number, 1, 4))
    assert len(events.heard) == 3


def test_a_warning_is_told_once_for_each_key(caplog: pytest.LogCaptureFixture) -> None:
    warn = WarnOnce()
    for key in ("a", "b", "a"):
        warn(key, f"about {key}")
    assert caplog.messages == ["about a", "about b"]
    for number in range(2000):
        warn(str(number), "more")
    assert len(caplog.messages) == 1000
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
