"""Scalars that are tensors, and daemons that would take them for tensors."""

from __future__ import annotations

import numpy as np
import pytest
from boardd_client.calls import payloads
from boardd_protos import REVISION
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameKind
from support.client_session import Daemon, claim, define, log_scalars, make_session

VALUE = np.float64(0.1)
SCALAR = payloads.scalar_tensor(
    "float64", (), display_name="Loss", description="", double_precision=True
)
HISTOGRAM = payloads.histogram("float64", (), payloads.Bins(count=3))


@pytest.mark.parametrize("revision", [0, REVISION])
def test_sent_by_value_it_is_a_plain_scalar_to_a_daemon_of_the_version_before(
    revision: int,
) -> None:
    session, daemon = make_session(), Daemon(revision=revision)
    _, series = define(session)
    for payload in (SCALAR, HISTOGRAM):
        session.copies_started(claim(session, series, VALUE.tobytes(), payload), [])
    daemon.open(session)
    daemon.take_all(session)
    scalar, histogram = daemon.frames
    assert (histogram.kind, histogram.payload) == (FrameKind.SUMMARY, HISTOGRAM)
    if revision:
        assert (scalar.kind, scalar.payload) == (FrameKind.SUMMARY, SCALAR)
        assert daemon.tensors == {1: [VALUE.tobytes()], 2: [VALUE.tobytes()]}
    else:
        assert (scalar.kind, scalar.payload, scalar.value) == (FrameKind.SCALAR, b"", VALUE)
        assert daemon.tensors == {2: [VALUE.tobytes()]}


def test_what_was_parked_is_a_plain_scalar_to_a_daemon_of_the_version_before_too() -> None:
    session, daemon = make_session(), Daemon()
    held, series = define(session)
    session.copies_started(claim(session, series, VALUE.tobytes(), SCALAR), [])
    log_scalars(session, define(session)[1], 1)
    daemon.open(session)
    daemon.take_all(session)
    session.acknowledged(
        pb.Acknowledged(settled_sequence=2, held=[pb.HeldRun(run=held.number, first_sequence=1)])
    )
    session.disconnected()
    older = Daemon(revision=0)
    older.open(session)
    older.take_all(session)
    (frame,) = older.frames
    assert (frame.sequence, frame.kind, frame.value) == (1, FrameKind.SCALAR, VALUE)
    assert older.tensors == {}
