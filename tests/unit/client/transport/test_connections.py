from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest
from boardd_client.transport.connection import Connection, ConnectionFailedError
from boardd_client.transport.grpc_connection import GrpcConnection
from boardd_client.transport.subprocess_connection import SubprocessConnection
from boardd_protos import address
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import Frame, FrameKind, encode
from support.lateness import taking
from support.scripted_daemon import ScriptedDaemon
from support.waiting import wait_until

SESSION_ID = bytes(16)


@pytest.fixture
def scripted() -> Iterator[ScriptedDaemon]:
    before = set(threading.enumerate())
    with ScriptedDaemon() as daemon:
        yield daemon

    def left() -> list[str]:
        return [t.name for t in {*threading.enumerate()} - before if t.name.startswith("boardd")]

    wait_until(lambda: not left(), "the connections' threads end")


class Events:
    def __init__(self) -> None:
        self.messages: list[pb.DaemonMessage] = []
        self.ends: list[ConnectionFailedError] = []
        self.rooms = 0

    def on_message(self, message: pb.DaemonMessage) -> None:
        self.messages.append(message)

    def on_room(self) -> None:
        self.rooms += 1

    def on_end(self, error: ConnectionFailedError) -> None:
        self.ends.append(error)


def connect(kind: str, scripted: ScriptedDaemon, events: Events) -> Connection:
    where = address.parse(scripted.address)
    return (
        SubprocessConnection(where, events)
        if kind == "subprocess"
        else GrpcConnection(where, events)
    )


def records(sequence: int, payload: bytes = b"") -> pb.ClientMessage:
    frame = encode(Frame(FrameKind.SUMMARY, 0, sequence, 0, 1.0, 1, 0.0, payload))
    return pb.ClientMessage(records=pb.Records(frames=frame))


both = pytest.mark.parametrize("kind", ["grpc", "subprocess"])


@both
def test_messages_pass_both_ways_and_calls_are_answered(
    kind: str, scripted: ScriptedDaemon
) -> None:
    events = Events()
    connection = connect(kind, scripted, events)
    reply = connection.open(pb.OpenRequest(session_id=SESSION_ID, pid=7), 20)
    connection.attach(pb.Attach(session_id=SESSION_ID))
    assert reply.protocol_version == 1
    assert scripted.opens[0].pid == 7
    payload = os.urandom(1 << 20)
    for sequence in range(1, 21):
        connection.send(records(sequence, payload))
    wait_until(lambda: events.messages and events.messages[-1].acknowledged.written_sequence == 20)
    assert [frame.payload for frame in scripted.all_frames] == [payload] * 20
    scripted.flush_reply = pb.FlushReply(reached=True, written_sequence=20)
    request = pb.FlushRequest(session_id=SESSION_ID, sequence=20, level=pb.SYNCED, timeout_secs=5)
    assert connection.flush(request).written_sequence == 20
    assert connection.end(pb.CloseRequest(session_id=SESSION_ID, timeout_secs=5)).closed
    connection.close()
    connection.close()
    wait_until(lambda: scripted.active_streams == 0)


@both
def test_a_daemon_that_is_not_there_is_unavailable(kind: str, scripted: ScriptedDaemon) -> None:
    scripted.stop()
    connection = connect(kind, scripted, Events())
    with pytest.raises(ConnectionFailedError) as caught:
        connection.open(pb.OpenRequest(session_id=SESSION_ID), 20)
    assert caught.value.code == "UNAVAILABLE"
    connection.close()


def test_where_nobody_listens_on_tcp_is_told_with_what_to_do() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and it does not listen
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        connection = GrpcConnection(address.parse(where), Events())
        with pytest.raises(ConnectionFailedError) as raised:
            connection.open(pb.OpenRequest(session_id=SESSION_ID), 60.0)
        connection.close()
    assert raised.value.message.startswith(f"no daemon answers at {where}; start boardd --listen")
    assert "BOARDD_ADDRESS" in raised.value.message
    assert "last error" not in raised.value.message


@both
def test_the_end_of_the_stream_is_told(kind: str, scripted: ScriptedDaemon) -> None:
    events = Events()
    connection = connect(kind, scripted, events)
    connection.open(pb.OpenRequest(session_id=SESSION_ID), 20)
    connection.attach(pb.Attach(session_id=SESSION_ID))
    wait_until(lambda: scripted.active_streams == 1)
    scripted.stop()
    wait_until(lambda: events.ends)
    assert events.ends[0].code in ("UNAVAILABLE", "CANCELLED", "UNKNOWN", "OK")
    assert not connection.has_room()
    connection.close()


@both
def test_close_is_quick_while_the_daemon_takes_nothing(kind: str, scripted: ScriptedDaemon) -> None:
    events = Events()
    connection = connect(kind, scripted, events)
    connection.open(pb.OpenRequest(session_id=SESSION_ID), 20)
    connection.attach(pb.Attach(session_id=SESSION_ID))
    scripted.reads.clear()
    sequence = 0
    while connection.has_room() and sequence < 100:
        sequence += 1
        connection.send(records(sequence, bytes(1 << 20)))
    begin = time.monotonic()
    connection.close()
    assert time.monotonic() - begin < 30


def test_a_helper_process_that_is_killed_is_a_lost_connection(scripted: ScriptedDaemon) -> None:
    events = Events()
    connection = SubprocessConnection(address.parse(scripted.address), events)
    connection.open(pb.OpenRequest(session_id=SESSION_ID), 20)
    connection.attach(pb.Attach(session_id=SESSION_ID))
    assert connection._process is not None
    connection._process.kill()
    wait_until(lambda: events.ends)
    assert events.ends[0].code == "UNAVAILABLE"
    with pytest.raises(ConnectionFailedError):
        connection.flush(pb.FlushRequest(timeout_secs=5))
    connection.close()
    wait_until(lambda: scripted.active_streams == 0)


class SlowDaemon(ScriptedDaemon):
    """Answers a Flush when the test lets it, by its sequence number."""

    def __init__(self) -> None:
        super().__init__()
        self.let: dict[int, threading.Event] = {number: threading.Event() for number in range(4)}

    def Flush(self, request: pb.FlushRequest, context: grpc.ServicerContext) -> pb.FlushReply:
        self.flushes.append(request)
        self.let[request.sequence].wait(60)
        return pb.FlushReply(reached=True, written_sequence=request.sequence)


@pytest.fixture
def slow() -> Iterator[SlowDaemon]:
    with SlowDaemon() as daemon:
        yield daemon
        for event in daemon.let.values():
            event.set()


def flush(sequence: int, timeout_secs: float) -> pb.FlushRequest:
    return pb.FlushRequest(session_id=SESSION_ID, sequence=sequence, timeout_secs=timeout_secs)


@both
def test_calls_wait_beside_each_other_each_for_its_own_time(kind: str, slow: SlowDaemon) -> None:
    connection = connect(kind, slow, Events())
    connection.open(pb.OpenRequest(session_id=SESSION_ID), 20)
    with futures.ThreadPoolExecutor() as pool:
        patient = pool.submit(connection.flush, flush(1, 20))
        wait_until(lambda: slow.flushes)
        with taking(0.3), pytest.raises(ConnectionFailedError) as caught:
            connection.flush(flush(2, 0.3))
        assert caught.value.code == "DEADLINE_EXCEEDED"
        slow.let[3].set()
        # Its own answer, and neither the late one of the call before nor another call's.
        assert connection.flush(flush(3, 20)).written_sequence == 3
        assert not patient.done()
        slow.let[1].set()
        assert patient.result().written_sequence == 1
    connection.close()


@both
@pytest.mark.parametrize("timeout_secs", [1e10, 1e300, float("inf")])
def test_a_timeout_may_be_of_any_length(
    timeout_secs: float, kind: str, scripted: ScriptedDaemon
) -> None:
    connection = connect(kind, scripted, Events())
    connection.open(pb.OpenRequest(session_id=SESSION_ID), 20)
    assert connection.flush(flush(1, timeout_secs)).reached
    assert connection.end(pb.CloseRequest(timeout_secs=timeout_secs)).closed
    connection.close()


def test_a_call_behind_a_pipe_full_of_records_waits_no_longer(scripted: ScriptedDaemon) -> None:
    connection = SubprocessConnection(address.parse(scripted.address), Events())
    connection.open(pb.OpenRequest(session_id=SESSION_ID), 20)
    connection.attach(pb.Attach(session_id=SESSION_ID))
    assert connection._process is not None
    os.kill(connection._process.pid, signal.SIGSTOP)
    sequence = 0
    while connection.has_room():
        sequence += 1
        connection.send(records(sequence, bytes(1 << 20)))
    with taking(0.2), pytest.raises(ConnectionFailedError) as caught:
        connection.flush(flush(1, 0.2))
    assert caught.value.code == "DEADLINE_EXCEEDED"
    connection.close()


def test_a_call_after_the_end_of_the_stream_fails_at_once(scripted: ScriptedDaemon) -> None:
    events = Events()
    connection = connect("subprocess", scripted, events)
    connection.open(pb.OpenRequest(session_id=SESSION_ID), 20)
    connection.attach(pb.Attach(session_id=SESSION_ID))
    wait_until(lambda: scripted.active_streams == 1)
    scripted.stop()
    wait_until(lambda: events.ends)
    with pytest.raises(ConnectionFailedError) as caught:
        connection.flush(flush(1, 1e6))
    assert caught.value.code == events.ends[0].code
    connection.close()


def test_the_helper_process_imports_nothing_of_the_working_directory(
    scripted: ScriptedDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    (tmp_path / "grpc.py").write_text("import os; os._exit(77)")
    connection = connect("subprocess", scripted, Events())
    connection.open(pb.OpenRequest(session_id=SESSION_ID), 20)
    connection.close()
