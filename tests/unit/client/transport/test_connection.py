from __future__ import annotations

import logging

import pytest
from boardd_client.transport.connection import ConnectionFailedError, Link
from boardd_client.transport.warn_once import WarnOnce
from boardd_protos import boardd_pb2 as pb


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


def test_a_warning_is_told_once_for_each_key(caplog: pytest.LogCaptureFixture) -> None:
    warn = WarnOnce()
    for key in ("a", "b", "a"):
        warn(key, f"about {key}")
    assert caplog.messages == ["boardd: about a", "boardd: about b"]
    for number in range(2000):
        warn(str(number), "more")
    assert len(caplog.messages) == 1000
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
