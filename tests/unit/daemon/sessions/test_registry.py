"""Which sessions are open, how many may be, and what is known of those that ended."""

from __future__ import annotations

import os

import pytest
from boardd.core.budget import Budgets
from boardd.core.errors import CapacityError, DrainingError, RequestError, UnknownSessionError
from boardd.core.refusals import RefusedError
from boardd.core.runs.drop_reasons import MAX_DROP_REASONS, OTHER
from boardd.sessions.client_log import ClientLog
from boardd.sessions.registry import Registry
from boardd_protos import boardd_pb2 as pb
from boardd_protos.shared import SHARE, Handover
from support.raw_client import scalars
from support.shared_client import is_mapped, log_file, log_of, memory

A, B, C = (bytes([number]) * 16 for number in range(3))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def request(session_id: bytes, acknowledged_sequence: int = 0) -> pb.OpenRequest:
    return pb.OpenRequest(session_id=session_id, acknowledged_sequence=acknowledged_sequence)


def registry(clock: Clock | None = None, **budgets: int) -> Registry:
    return Registry(Budgets(**budgets), clock or Clock())


def test_an_open_session_is_found_until_it_is_forgotten() -> None:
    sessions = registry()
    live = sessions.open(request(A))
    assert sessions.open(request(A, 7)) is live, "it is resumed"
    assert sessions.get(A) is sessions.find(A) is live
    assert list(sessions) == [live]
    sessions.forget(live)
    assert len(sessions) == 0
    assert sessions.get(A) is None
    with pytest.raises(UnknownSessionError):
        sessions.find(A)


def test_sessions_may_be_forgotten_while_they_are_gone_through() -> None:
    sessions = registry()
    for session_id in (A, B, C):
        sessions.open(request(session_id))
    for live in sessions:
        sessions.forget(live)
    assert not sessions


def test_reasons_that_clients_make_up_are_bounded_and_no_count_goes_down() -> None:
    sessions = registry()
    lives = [sessions.open(request(session_id)) for session_id in (A, B, C)]
    for number, live in enumerate(lives):
        reasons = {f"{number}.{at}": (1, 10) for at in range(MAX_DROP_REASONS)}
        live.session.counters.dropped_by_client.update(reasons)
    told = sessions.counters().dropped_by_client
    assert len(told) == MAX_DROP_REASONS + 1
    assert told[OTHER] == (2 * MAX_DROP_REASONS, 20 * MAX_DROP_REASONS)
    for live in reversed(lives):
        sessions.forget(live)
        assert sessions.counters().dropped_by_client == told


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (request(b""), "session_id has 0 bytes; 16 random"),
        (request(bytes(17)), "session_id has 17 bytes"),
        (request(A, 1 << 63), "acknowledged_sequence 9223372036854775808 is too large"),
        (
            pb.OpenRequest(session_id=A, heard_rejections=1 << 63),
            "heard_rejections 9223372036854775808 is too large",
        ),
    ],
)
def test_a_request_that_makes_no_sense_opens_nothing(refused: pb.OpenRequest, message: str) -> None:
    sessions = registry()
    with pytest.raises(RequestError, match=message):
        sessions.open(refused)
    assert not sessions


def test_past_the_budget_open_sessions_are_resumed_and_none_begins() -> None:
    sessions = registry(max_sessions=2)
    live = sessions.open(request(A))
    sessions.open(request(B))
    with pytest.raises(CapacityError, match="its budget of 2 sessions") as caught:
        sessions.open(request(C))
    assert caught.value.reason == pb.TOO_MANY_SESSIONS
    assert sessions.open(request(A)) is live
    sessions.forget(live)
    sessions.open(request(C))


def test_while_it_drains_nothing_begins_and_nothing_is_resumed() -> None:
    sessions = registry()
    live = sessions.open(request(A))
    sessions.is_draining = True
    for session_id in (A, B):
        with pytest.raises(DrainingError):
            sessions.open(request(session_id))
    assert sessions.find(A) is live, "what is open can still be closed"


@pytest.mark.parametrize(
    ("acknowledged", "expected"), [(0, 5), (5, 5), (9, 9)], ids=["lost", "same", "newer"]
)
def test_a_session_that_comes_back_goes_on_behind_what_was_written(
    acknowledged: int, expected: int
) -> None:
    sessions = registry()
    live = sessions.open(request(A, 5))
    sessions.remember(live.session)
    sessions.forget(live)
    again = sessions.open(request(A, acknowledged)).session
    assert again is not live.session
    assert (again.received_sequence, again.written_sequence) == (expected, expected)


def test_a_session_that_was_closed_is_not_remembered() -> None:
    sessions = registry()
    sessions.forget(sessions.open(request(A, 5)))
    assert sessions.open(request(A)).session.received_sequence == 0


def test_idleness_begins_when_the_last_session_is_gone() -> None:
    clock = Clock()
    sessions = registry(clock)
    assert sessions.idle_since == 100.0
    first, second = sessions.open(request(A)), sessions.open(request(B))
    clock.now = 200.0
    sessions.forget(first)
    assert sessions.idle_since == 100.0, "one is still open"
    clock.now = 300.0
    sessions.forget(second)
    assert sessions.idle_since == 300.0


def test_counts_outlive_their_sessions() -> None:
    sessions = registry()
    for session_id, records in ((A, 3), (B, 4)):
        # Of a series that nobody defined: rejected, and so nothing of it is out.
        sessions.open(request(session_id)).session.receive(scalars(1, records))
    sessions.forget(sessions.find(A))
    total = sessions.counters()
    assert (total.accepted, total.written, total.pending) == (7, 0, 0)
    assert total.rejected == {pb.UNDEFINED_SERIES: 7}
    assert sessions.counters() == total, "to ask changes nothing"


def test_activity_changes_with_whatever_happens() -> None:
    sessions = registry()
    seen = [sessions.activity()]
    live = sessions.open(request(A))
    seen.append(sessions.activity())
    live.session.receive(scalars(1, 1))
    seen.append(sessions.activity())
    live.session.add_chunk(pb.TensorChunk(sequence=2, offset=0, data=b"x"))
    seen.append(sessions.activity())
    sessions.forget(live)
    seen.append(sessions.activity())
    sessions.forget(sessions.open(request(B)))
    seen.append(sessions.activity())
    assert len(set(seen)) == len(seen), "each differs"
    assert sessions.activity() == seen[-1]


def test_all_sessions_share_one_budget_of_maps() -> None:
    sessions = registry(max_map_bytes=3 * 4096)
    first, second = sessions.open(request(A)), sessions.open(request(B))
    fd = memory(4096)
    logs = [log_file(log_of(session_id)) for session_id in (A, B)]
    first.maps.share_first(Handover(A, SHARE, 0, 4096), fd, ClientLog(logs[0]))
    first.maps.share(Handover(A, SHARE, 1, 4096), fd)
    second.maps.share_first(Handover(B, SHARE, 0, 4096), fd, ClientLog(logs[1]))
    with pytest.raises(RefusedError, match="budget of 12288, of which 12288 are taken"):
        second.maps.share(Handover(B, SHARE, 1, 4096), fd)
    first.let_go_of_maps()
    second.maps.share(Handover(B, SHARE, 1, 4096), fd)
    for used in (fd, *logs):
        os.close(used)
    second.let_go_of_maps()
    assert not is_mapped()
