"""A signal handler that logs, or raises, in the middle of a call that logs."""

from __future__ import annotations

import gc
import itertools
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import numpy as np
from boardd_client.memory.arena import Arena
from boardd_client.memory.ring import Ring
from boardd_client.session.captures import Capture
from boardd_client.session.session import Session
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameKind
from support.client_session import SESSION_ID, Daemon, balance

#: Times that a call is interrupted, each at another moment.
TIMES = 1500


@contextmanager
def soon(moment_secs: float, act: Callable[[], None]) -> Iterator[None]:
    """Has a signal handler run ``act``, once, after about ``moment_secs`` of the body."""
    before = signal.signal(signal.SIGALRM, lambda *_: act())
    gc.disable()  # others' callbacks of it are not what is interrupted here
    signal.setitimer(signal.ITIMER_REAL, moment_secs)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.enable()


def moments() -> Iterator[float]:
    """Delays that fall into every part of the few calls that the tests make."""
    choose = random.Random(0)
    return (choose.uniform(1e-6, 250e-6) for _ in range(TIMES))


class Interrupt(BaseException):
    """As KeyboardInterrupt, but only ours."""


def interrupt() -> None:
    raise Interrupt


def make_session(log_bytes: int = 4096) -> Session:
    return Session(
        SESSION_ID,
        Ring(memoryview(bytearray(log_bytes)), reserve_bytes=256),
        Arena(memoryview(bytearray(1 << 14)), reserve_bytes=256),
    )


def log_tensor(session: Session, series: int, data: bytes) -> None:
    """What ``RunHandle.log_record`` does, in short."""
    capture = Capture(0, ())
    try:
        begun = session.claim(series, 1, 1.0, b"payload", [len(data)], into=capture)
        if not isinstance(begun, Capture):
            return
        capture.slots[0].view[:] = data
        session.copies_started(capture, [])
    except BaseException as error:
        session.interrupted(capture, [], error)
        raise


def resolve(session: Session) -> None:
    """What the sender does."""
    while (capture := session.next_capture()) is not None:
        failure, value = capture.wait()
        if failure:
            session.abort(capture, failure)
        else:
            session.commit(capture, value)


def test_what_is_logged_after_an_interrupt_is_written() -> None:
    interrupted = 0
    for turn, moment_secs in enumerate(moments()):
        session, daemon = make_session(), Daemon()
        run = session.define_run(pb.RunDefinition(logdir="/logs"))
        series = session.define_series(run, "tag")
        targets = np.full(4, series, np.uint64)
        daemon.open(session)
        for _ in range(turn % 40):  # the log wraps at another place each time
            session.ring.append_scalar(series, 0, 1.0, 0.0)
        daemon.take_all(session)
        session.acknowledged(pb.Acknowledged(written_sequence=daemon.received))
        try:
            with soon(moment_secs, interrupt):
                for number in range(3):
                    log_tensor(session, series, bytes([number]) * 100)
                    session.ring.append_scalar(series, number, 1.0, 0.5)
                    session.ring.append_scalars(targets, number, 1.0, np.full(4, 0.5))
        except Interrupt:
            interrupted += 1
        resolve(session)
        log_tensor(session, series, b"after" * 10)
        last = session.ring.append_scalar(series, 9, 1.0, 9.0)
        assert last == session.ring.last_sequence
        assert session.ring.first_claimed() is None
        daemon.take_all(session)
        assert daemon.received == last
        assert daemon.frames[-1].value == 9.0
        assert daemon.tensors[last - 1] == [b"after" * 10]
        for sequence, tensors in daemon.tensors.items():
            if sequence < last - 1:
                assert tensors[0] == tensors[0][:1] * 100
        session.acknowledged(pb.Acknowledged(written_sequence=last))
        aborted = sum(frame.kind == FrameKind.ABORTED for frame in daemon.frames)
        assert sum(session.statistics().rejected.values()) == aborted
        balance(session)
    assert interrupted > TIMES // 10


def test_a_handler_that_logs_disturbs_nobody() -> None:
    ran = 0
    for moment_secs in moments():
        session, daemon = make_session(), Daemon()
        run = session.define_run(pb.RunDefinition(logdir="/logs"))
        series = session.define_series(run, "tag")
        targets = np.full(4, series, np.uint64)
        daemon.open(session)
        with soon(moment_secs, partial(log_tensor, session, series, b"h" * 64)):
            for number in range(3):
                log_tensor(session, series, bytes([number]) * 100)
                session.ring.append_scalar(series, number, 1.0, 0.5)
                session.ring.append_scalars(targets, number, 1.0, np.full(4, 0.5))
        resolve(session)
        daemon.take_all(session)
        assert daemon.received == session.ring.last_sequence
        kinds = [frame.kind for frame in daemon.frames]
        assert kinds.count(FrameKind.SCALAR) == 15
        ran += kinds.count(FrameKind.SUMMARY) == 4
        assert kinds.count(FrameKind.SUMMARY) in (3, 4)
        tensors = [tensor for (tensor,) in daemon.tensors.values()]
        assert {b"\0" * 100, b"\1" * 100, b"\2" * 100} <= set(tensors)
        assert set(tensors) <= {b"\0" * 100, b"\1" * 100, b"\2" * 100, b"h" * 64}
        session.acknowledged(pb.Acknowledged(written_sequence=daemon.received))
        assert session.arena.used_bytes == 0
        balance(session)
    assert ran > TIMES // 10


def test_slots_of_a_handler_and_of_the_call_it_interrupts_do_not_overlap() -> None:
    arena = Arena(memoryview(bytearray(1 << 16)))
    taken: list[tuple[int, int]] = []

    def take(size_bytes: int) -> None:
        slot = arena.allocate(size_bytes)
        if slot is not None:
            taken.append((slot.offset, slot.offset + len(slot.view)))

    before = signal.signal(signal.SIGALRM, lambda *_: take(64))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        sizes = np.random.default_rng(0).integers(1, 200, 3000).tolist()
        for size_bytes in sizes:
            if arena.used_bytes > 1 << 15:
                arena = Arena(memoryview(bytearray(1 << 16)))
                taken.clear()
            take(size_bytes)
            ordered = sorted(taken)
            assert all(a[1] <= b[0] for a, b in itertools.pairwise(ordered))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
