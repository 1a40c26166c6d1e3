from __future__ import annotations

import numpy as np
import pytest
from boardd_client.arena import Arena
from boardd_client.definitions import MAX_SERIES, Run
from boardd_client.errors import CaptureError
from boardd_client.log import RecordLog
from boardd_client.scalars_export import ScalarHistory
from boardd_client.session import Capture, Session
from boardd_protos import boardd_pb2 as pb
from boardd_protos import record
from boardd_protos.record import Kind

SESSION_ID = bytes(range(16))


def make_session(
    log_bytes: int = 1 << 16, arena_bytes: int = 1 << 16, *, window_bytes: int = 1 << 30
) -> Session:
    return Session(
        SESSION_ID,
        RecordLog(memoryview(bytearray(log_bytes)), reserve_bytes=log_bytes // 4),
        Arena(memoryview(bytearray(arena_bytes)), reserve_bytes=arena_bytes // 64),
        history=ScalarHistory(1 << 16),
        window_bytes=window_bytes,
    )


def define(session: Session, tag: str = "loss") -> tuple[Run, int]:
    run = session.define_run(pb.RunDefinition(logdir="/logs"))
    return run, session.define_series(run, tag)


def log_scalars(session: Session, series: int, count: int) -> None:
    for step in range(count):
        assert session.log.append_scalar(series, step, 1.0, float(step))


def begin(session: Session, series: int, data: bytes, payload: bytes = b"histogram") -> Capture:
    capture = session.begin(series, 0, 1.0, payload, [len(data)])
    assert isinstance(capture, Capture)
    capture.slots[0].view[:] = data
    return capture


def log_tensor(session: Session, series: int, data: bytes) -> None:
    session.captured(begin(session, series, data), [])


class Daemon:
    """What a daemon makes of the messages: checks the order, keeps what it got."""

    def __init__(self, received: int = 0, **limits: int) -> None:
        self.received = received
        self.limits = limits
        self.runs: dict[int, pb.RunDefinition] = {}
        self.series: dict[int, pb.SeriesDefinition] = {}
        self.frames: list[record.Frame] = []
        self.tensors: dict[int, list[bytes]] = {}
        self.reports: list[dict[str, int]] = []
        self.message_bytes: list[int] = []

    def open(self, session: Session, *, written: int | None = None) -> None:
        session.opened(
            pb.OpenReply(
                received_sequence=self.received,
                written_sequence=self.received if written is None else written,
                **self.limits,
            )
        )

    def take(self, session: Session, max_bytes: int = 1 << 20) -> int:
        """Takes one helping of messages; returns how many there were."""
        messages = session.next_messages(max_bytes)
        for message in messages:
            self.message_bytes.append(message.ByteSize())
            getattr(self, f"_take_{message.WhichOneof('message')}")(message)
        return len(messages)

    def take_all(self, session: Session, max_bytes: int = 1 << 20) -> None:
        while self.take(session, max_bytes):
            pass

    def _take_definitions(self, message: pb.ClientMessage) -> None:
        self.runs.update((run.run, run) for run in message.definitions.runs)
        for series in message.definitions.series:
            assert series.run in self.runs
            self.series[series.series] = series

    def _take_report(self, message: pb.ClientMessage) -> None:
        self.reports.append({drop.reason: drop.records for drop in message.report.dropped})

    def _take_chunk(self, message: pb.ClientMessage) -> None:
        chunk = message.chunk
        assert chunk.sequence == self.received + 1
        tensors = self.tensors.setdefault(chunk.sequence, [])
        if chunk.offset == 0:
            del tensors[chunk.tensor :]
            tensors.append(b"")
        assert (chunk.tensor, chunk.offset) == (len(tensors) - 1, len(tensors[-1]))
        tensors[-1] += chunk.data

    def _take_records(self, message: pb.ClientMessage) -> None:
        for frame in record.decode(message.records.frames):
            assert frame.sequence == self.received + 1
            assert frame.flags == 0
            assert frame.kind == Kind.VOID or frame.series in {**self.series, **self.runs}
            self.received = frame.sequence
            self.frames.append(frame)


def balance(session: Session) -> None:
    counts = session.statistics()
    assert counts.accepted == counts.written + counts.pending + sum(counts.rejected.values())


def test_nothing_is_sent_before_the_session_is_open() -> None:
    session = make_session()
    log_scalars(session, define(session)[1], 3)
    assert session.next_messages() == []


def test_definitions_come_first_and_only_once() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 3)
    messages = session.next_messages()
    assert [message.WhichOneof("message") for message in messages] == ["definitions", "records"]
    assert session.next_messages() == []
    log_scalars(session, series, 1)
    messages = session.next_messages()
    assert [message.WhichOneof("message") for message in messages] == ["records"]


def test_many_definitions_travel_in_modest_messages() -> None:
    session, daemon = make_session(), Daemon()
    run = session.define_run(pb.RunDefinition(logdir="/logs"))
    for number in range(2000):
        session.define_series(run, f"{number:04d}" + "x" * 1020)
    daemon.open(session)
    daemon.take_all(session)
    assert len(daemon.series) == 2000
    assert max(daemon.message_bytes) < 1 << 20


def test_series_have_a_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boardd_client.definitions.MAX_SERIES", 3)
    session = make_session()
    run = session.define_run(pb.RunDefinition(logdir="/logs"))
    assert [bool(session.define_series(run, str(number))) for number in range(5)] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert MAX_SERIES > 10_000


def test_records_and_tensors_arrive_whole_and_in_order_in_helpings_of_any_size() -> None:
    rng = np.random.default_rng(0)
    for max_bytes in (100, 1000, 1 << 20):
        session, daemon = make_session(1 << 18, 1 << 20), Daemon()
        _, series = define(session)
        daemon.open(session)
        tensors = {}
        for _ in range(20):
            log_scalars(session, series, int(rng.integers(0, 5)))
            data = rng.bytes(int(rng.choice([0, 1, 999, 20_000])))
            log_tensor(session, series, data)
            tensors[session.log.last_sequence] = data
        daemon.take_all(session, max_bytes)
        assert daemon.received == session.log.last_sequence
        for sequence, data in tensors.items():
            assert daemon.tensors.get(sequence, [b""]) == [data]
        assert max(daemon.message_bytes) < max(max_bytes, 100) + 100


def test_no_message_is_larger_than_a_mebibyte_or_than_the_daemon_takes() -> None:
    for limit, largest in ((0, 1 << 20), (64 << 10, 64 << 10)):
        session = make_session(1 << 22, 1 << 23)
        daemon = Daemon(max_message_bytes=limit)
        _, series = define(session)
        daemon.open(session)
        log_scalars(session, series, 50_000)
        log_tensor(session, series, bytes(3 << 20))
        daemon.take_all(session, 1 << 30)
        assert daemon.received == 50_001
        assert largest / 2 < max(daemon.message_bytes) < largest + 100


def test_acknowledged_records_and_their_tensors_are_freed() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_tensor(session, series, b"x" * 1000)
    log_scalars(session, series, 2)
    daemon.take_all(session)
    session.acknowledged(1)
    counts = session.statistics()
    assert (counts.written, counts.pending, counts.arena_used_bytes) == (1, 2, 0)
    assert counts.log_used_bytes == 96
    assert not session.is_drained
    session.acknowledged(3)
    session.acknowledged(2)  # late, and of no consequence
    assert session.is_drained
    assert session.statistics().log_used_bytes == 0


def test_an_acknowledgement_of_what_was_never_sent_frees_nothing() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 3)
    session.acknowledged(3)
    assert session.statistics().pending == 3
    daemon.take_all(session)
    session.acknowledged(1 << 60)
    log_scalars(session, series, 1)
    assert session.statistics().pending == 1


def test_after_a_reconnect_the_daemon_gets_definitions_and_what_it_lacks() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 10)
    daemon.take_all(session)
    session.acknowledged(4)
    session.disconnected()
    assert session.next_messages() == []
    assert session.open_request("host", 1, "train.py").acknowledged_sequence == 4
    again = Daemon(received=7)
    again.open(session, written=6)
    again.take_all(session)
    assert [frame.sequence for frame in again.frames] == [8, 9, 10]
    assert list(again.series) == [series]
    assert session.statistics().written == 6


def test_a_restarted_daemon_gets_everything_that_was_not_written() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 3)
    log_tensor(session, series, b"tensor")
    log_scalars(session, series, 3)
    daemon.take_all(session)
    session.acknowledged(2)
    session.disconnected()
    restarted = Daemon(received=2)
    restarted.open(session)
    restarted.take_all(session)
    assert [frame.sequence for frame in restarted.frames] == [3, 4, 5, 6, 7]
    assert restarted.tensors == {4: [b"tensor"]}


def test_a_tensor_cut_off_in_the_middle_is_sent_again_from_its_start() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    data = bytes(range(250)) * 40
    log_tensor(session, series, data)
    daemon.take(session, 3000)
    assert len(daemon.tensors[1][0]) == 3000
    session.disconnected()
    daemon.open(session)
    daemon.take_all(session, 3000)
    assert daemon.tensors == {1: [data]}
    assert daemon.received == 1


def test_a_daemon_that_claims_more_than_was_sent_is_not_believed() -> None:
    session = make_session()
    _, series = define(session)
    log_scalars(session, series, 5)
    daemon = Daemon()
    session.opened(pb.OpenReply(received_sequence=99, written_sequence=99))
    daemon.take_all(session)
    assert daemon.received == 5
    assert session.statistics().pending == 5


def test_nothing_overtakes_a_record_whose_tensor_is_still_being_copied() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 2)
    first, second = begin(session, series, b"first"), begin(session, series, b"second")
    log_scalars(session, series, 2)
    session.captured(second, [])
    daemon.take_all(session)
    assert daemon.received == 2
    assert session.next_capture() is None  # its copy has not begun
    session.captured(first, [_Copy()])
    assert session.next_capture() is first
    session.resolved(first)
    daemon.take_all(session)
    assert daemon.received == 6
    assert daemon.tensors == {3: [b"first"], 4: [b"second"]}


class _Copy:
    def wait(self) -> None:
        raise CaptureError("not called by a session")


@pytest.mark.parametrize(
    ("dtype", "data", "value"),
    [
        ("float32", np.float32(0.75).tobytes(), 0.75),
        ("float16", np.float16(-2).tobytes(), -2.0),
        ("int64", np.int64(-7).tobytes(), -7.0),
        ("bool", b"\1", 1.0),
        ("bfloat16", b"\xc0\x3f", 1.5),
    ],
)
def test_a_lazy_scalar_becomes_a_scalar_like_any_other(
    dtype: str, data: bytes, value: float
) -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    capture = session.begin(series, 3, 1.0, b"", [len(data)], scalar_dtype=dtype)
    assert isinstance(capture, Capture)
    session.captured(capture, [_Copy()])
    capture.slots[0].view[:] = data
    session.resolved(capture)
    assert session.statistics().arena_used_bytes == 0
    daemon.take_all(session)
    (frame,) = daemon.frames
    assert (frame.kind, frame.step, frame.value) == (Kind.SCALAR, 3, value)


@pytest.mark.parametrize("scalar_dtype", ["", "float32"])
def test_a_failed_copy_becomes_a_void_record_and_is_counted_once(scalar_dtype: str) -> None:
    session, daemon = make_session(), Daemon()
    run, series = define(session)
    daemon.open(session)
    payload = b"" if scalar_dtype else b"some payload"
    capture = session.begin(series, 3, 1.0, payload, [4], scalar_dtype=scalar_dtype)
    assert isinstance(capture, Capture)
    session.captured(capture, [_Copy()])
    session.failed(capture, "device lost")
    log_scalars(session, series, 1)
    assert session.statistics().arena_used_bytes == 0
    daemon.take_all(session)
    void, _ = daemon.frames
    assert void.kind == Kind.VOID
    assert void.payload == (b"" if scalar_dtype else b"device lost ")
    rejected = pb.Rejected(sequence=1, records=1, reason=pb.CAPTURE_FAILED, message="device lost")
    assert session.rejected(rejected) is None
    session.acknowledged(2)
    counts = session.statistics()
    assert dict(counts.rejected) == {"CAPTURE_FAILED": 1}
    assert counts.written == 1
    assert (run.rejected, run.last_rejection) == (1, "CAPTURE_FAILED: device lost")
    balance(session)


def test_rejections_count_once_they_are_acknowledged_and_name_their_run() -> None:
    session, daemon = make_session(), Daemon()
    run, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 5)
    daemon.take_all(session)
    rejected = pb.Rejected(sequence=2, records=2, reason=pb.INVALID_TENSOR, message="bad dtype")
    assert session.rejected(rejected) is run
    assert run.rejected == 0
    balance(session)
    session.acknowledged(5)
    assert dict(session.statistics().rejected) == {"INVALID_TENSOR": 2}
    assert session.statistics().written == 3
    assert (run.rejected, run.last_rejection) == (2, "INVALID_TENSOR: bad dtype")
    balance(session)


def test_a_rejection_that_a_new_daemon_repeats_counts_once() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 3)
    daemon.take_all(session)
    rejected = pb.Rejected(sequence=2, records=1, reason=pb.INVALID_RECORD)
    session.rejected(rejected)
    session.disconnected()
    Daemon(received=0).open(session)
    Daemon().take_all(session)
    session.rejected(rejected)
    session.acknowledged(3)
    assert dict(session.statistics().rejected) == {"INVALID_RECORD": 1}
    balance(session)


def test_a_reason_of_a_newer_daemon_is_counted_by_its_number() -> None:
    session, daemon = make_session(), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 1)
    daemon.take_all(session)
    session.rejected(pb.Rejected.FromString(b"\x08\x01\x10\x01\x18\xe7\x07"))
    session.acknowledged(1)
    assert dict(session.statistics().rejected) == {"REASON_999": 1}


def test_the_last_refusal_of_a_run_is_kept_with_it() -> None:
    session, daemon = make_session(), Daemon()
    run, _ = define(session)
    daemon.open(session)
    message = pb.RunRefused(run=run.number, reason=pb.OUTSIDE_ROOTS, message="/logs is outside")
    assert session.run_refused(message) is run
    assert run.refusal == "OUTSIDE_ROOTS: /logs is outside"
    assert session.run_refused(pb.RunRefused(run=999)) is None


def test_a_refused_session_is_so_until_it_is_opened() -> None:
    session = make_session()
    session.refused("UNAUTHENTICATED: token")
    assert session.refusal == "UNAUTHENTICATED: token"
    Daemon().open(session)
    assert session.refusal == ""


def test_a_run_that_has_ended_is_forgotten_once_its_end_is_acknowledged() -> None:
    session, daemon = make_session(), Daemon()
    run, series = define(session)
    other, kept = define(session)
    daemon.open(session)
    log_scalars(session, series, 2)
    assert session.end_run(run, 1.0) == 3
    daemon.take_all(session)
    assert daemon.frames[-1].kind == Kind.END_RUN
    assert daemon.frames[-1].series == run.number
    session.disconnected()
    again = Daemon(received=2)
    again.open(session)
    again.take_all(session)
    assert set(again.runs) == {run.number, other.number}  # its end is still to be written
    session.acknowledged(3)
    session.disconnected()
    later = Daemon(received=3)
    later.open(session)
    later.take_all(session)
    assert (set(later.runs), set(later.series)) == ({other.number}, {kept})
    counts = session.statistics()
    assert (counts.accepted, counts.written, counts.pending) == (2, 2, 0)


def test_drops_are_counted_and_reported_when_they_change_and_to_every_daemon() -> None:
    session, daemon = make_session(), Daemon()
    define(session)
    daemon.open(session)
    assert session.drop("arena_full", 100) == 1
    assert session.drop("arena_full", 100) == 2
    session.drop("log_full")
    daemon.take_all(session)
    daemon.take_all(session)
    assert daemon.reports == [{"arena_full": 2, "log_full": 1}]
    session.disconnected()
    daemon.open(session)
    daemon.take_all(session)
    assert len(daemon.reports) == 2
    assert dict(session.statistics().dropped) == {"arena_full": 2, "log_full": 1}
    assert session.statistics().accepted == 0


@pytest.mark.parametrize(
    ("fill", "size_bytes", "reason"),
    [
        (0, 1 << 20, "tensor_too_large"),
        (60_000, 10_000, "arena_full"),
        (60_000, 1 << 20, "tensor_too_large"),
    ],
)
def test_a_tensor_without_room_is_refused_with_the_reason(
    fill: int, size_bytes: int, reason: str
) -> None:
    session = make_session()
    _, series = define(session)
    if fill:
        log_tensor(session, series, bytes(fill))
    used_bytes = session.arena.used_bytes
    assert session.begin(series, 0, 1.0, b"p", [size_bytes]) == reason
    assert session.arena.used_bytes == used_bytes


def test_a_full_log_refuses_a_record_and_gives_its_slots_back() -> None:
    session = make_session(log_bytes=4096)
    _, series = define(session)
    while session.log.append_scalar(series, 0, 1.0, 1.0):
        pass
    assert session.begin(series, 0, 1.0, b"p", [64]) == "log_full"
    assert session.arena.used_bytes == 0


def test_lazy_scalars_find_room_where_tensors_no_longer_do() -> None:
    session = make_session()
    _, series = define(session)
    while isinstance(capture := session.begin(series, 0, 1.0, b"p", [64]), Capture):
        session.captured(capture, [])
    assert isinstance(session.begin(series, 0, 1.0, b"", [4], scalar_dtype="float32"), Capture)
    assert session.log.append_scalar(series, 0, 1.0, 1.0)


def test_the_window_stops_sending_until_something_is_acknowledged() -> None:
    session, daemon = make_session(window_bytes=4800), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_scalars(session, series, 500)
    daemon.take_all(session, 480)
    assert daemon.received == 100
    assert session.is_window_full
    session.acknowledged(50)
    daemon.take_all(session, 480)
    assert daemon.received == 150


def test_a_tensor_larger_than_the_window_is_sent_all_the_same() -> None:
    session, daemon = make_session(window_bytes=1000), Daemon()
    _, series = define(session)
    daemon.open(session)
    log_tensor(session, series, bytes(10_000))
    log_scalars(session, series, 1)
    daemon.take_all(session, 500)
    assert daemon.received == 1
    session.acknowledged(1)
    daemon.take_all(session, 500)
    assert daemon.received == 2


def test_a_tensor_larger_than_the_daemon_takes_is_rejected_here() -> None:
    session, daemon = make_session(), Daemon(max_tensor_bytes=1000)
    run, series = define(session)
    daemon.open(session)
    log_tensor(session, series, bytes(1001))
    log_tensor(session, series, bytes(1000))
    daemon.take_all(session)
    assert [frame.kind for frame in daemon.frames] == [Kind.VOID, Kind.SUMMARY]
    session.acknowledged(2)
    assert dict(session.statistics().rejected) == {"TENSOR_TOO_LARGE": 1}
    assert run.last_rejection == "TENSOR_TOO_LARGE: 1001 bytes; the daemon takes 1000"
    assert session.statistics().arena_used_bytes == 0


def test_scalars_are_kept_for_export_also_when_the_daemon_has_them() -> None:
    session, daemon = make_session(), Daemon()
    run, series = define(session)
    other = session.define_series(run, "accuracy")
    daemon.open(session)
    session.log.append_scalar(series, 1, 10.0, 0.5)
    log_tensor(session, series, b"tensor")
    session.log.append_scalar(other, 2, 11.0, 0.25)
    daemon.take_all(session)
    session.acknowledged(3)
    session.log.append_scalar(series, 3, 12.0, float("nan"))
    exported, lost = session.export_scalars({series: "/logs/loss"})
    assert lost == 0
    assert list(exported) == ["/logs/loss"]
    assert exported["/logs/loss"][0] == [10.0, 1, 0.5]
    assert np.isnan(exported["/logs/loss"][1][2])
    session.clear_scalars([series])
    names = {series: "loss", other: "accuracy"}
    assert session.export_scalars(names)[0] == {"accuracy": [[11.0, 2, 0.25]]}


class Walk:
    """A random walk: logs, sends, acknowledgements, lost connections, restarted daemons."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.session = make_session(log_bytes=1 << 14, arena_bytes=1 << 14)
        self.series = define(self.session)[1]
        self.logged: dict[int, bytes] = {}
        self.written: dict[int, bytes] = {}
        self.daemon = Daemon()
        self.daemon.open(self.session)

    def scalar(self) -> None:
        sequence = self.session.log.append_scalar(self.series, 0, 1.0, 1.0)
        if sequence:
            self.logged[sequence] = b""

    def tensor(self) -> None:
        data = self.rng.bytes(int(self.rng.integers(0, 3000)))
        capture = self.session.begin(self.series, 0, 1.0, b"p", [len(data)])
        if isinstance(capture, Capture):
            capture.slots[0].view[:] = data
            self.session.captured(capture, [])
            self.logged[capture.sequence] = data

    def send(self) -> None:
        self.daemon.take(self.session, int(self.rng.integers(100, 5000)))

    def acknowledge(self) -> None:
        first = self.session.acknowledged_sequence
        self.write(int(self.rng.integers(first, self.daemon.received + 1)))

    def reconnect(self) -> None:
        self.session.disconnected()
        self.daemon.open(self.session, written=self.session.acknowledged_sequence)

    def restart(self) -> None:
        self.session.disconnected()
        self.daemon = Daemon(received=self.session.acknowledged_sequence)
        self.daemon.open(self.session)

    def write(self, through: int) -> None:
        for frame in self.daemon.frames:
            if frame.sequence <= through:
                data = b"".join(self.daemon.tensors.get(frame.sequence, []))
                assert self.written.setdefault(frame.sequence, data) == data
        self.session.acknowledged(through)


@pytest.mark.parametrize("seed", range(20))
def test_every_order_of_events_keeps_the_accounts_and_loses_nothing(seed: int) -> None:
    walk = Walk(seed)
    actions = [walk.scalar, walk.tensor, walk.send, walk.acknowledge, walk.reconnect, walk.restart]
    for action in walk.rng.choice(len(actions), 300, p=[0.35, 0.2, 0.25, 0.15, 0.03, 0.02]):
        actions[action]()
        balance(walk.session)
    walk.daemon.take_all(walk.session)
    walk.write(walk.daemon.received)
    assert walk.session.is_drained
    assert walk.written == walk.logged
    assert walk.session.arena.used_bytes == 0
    assert walk.session.log.used_bytes == 0
