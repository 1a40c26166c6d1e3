"""Records that a daemon would not take in one message."""

from __future__ import annotations

import pytest
from boardd_client.memory.arena import Arena
from boardd_client.memory.ring import Ring
from boardd_client.session.captures import Capture
from boardd_client.session.session import Session
from boardd_protos import boardd_pb2 as pb
from boardd_protos import frame as framing
from boardd_protos.frame import FrameKind

MESSAGE_BYTES = 64 << 10


def frames_of(session: Session) -> tuple[list[framing.Frame], list[pb.TensorChunk]]:
    frames: list[framing.Frame] = []
    chunks: list[pb.TensorChunk] = []
    while messages := session.next_messages():
        for message in messages:
            assert message.ByteSize() <= MESSAGE_BYTES
            frames += framing.decode(message.records.frames)
            if message.HasField("chunk"):
                chunks.append(message.chunk)
    return frames, chunks


@pytest.mark.parametrize("sizes", [[], [1000, 2000]])
def test_a_frame_above_the_daemons_messages_is_rejected_and_the_rest_goes_on(
    sizes: list[int],
) -> None:
    session = Session(
        bytes(16),
        Ring(memoryview(bytearray(1 << 20))),
        Arena(memoryview(bytearray(1 << 16))),
    )
    run = session.define_run(pb.RunDefinition(logdir="/logs"))
    series = session.define_series(run, "text")
    for step, payload_bytes in enumerate([MESSAGE_BYTES - 2048, MESSAGE_BYTES, 100]):
        capture = session.claim(series, step, 1.0, b"x" * payload_bytes, sizes)
        assert isinstance(capture, Capture)
        session.copies_started(capture, [])
    assert session.ring.append_scalar(series, 3, 1.0, 0.5)

    reply = pb.OpenReply(max_message_bytes=MESSAGE_BYTES)
    session.opened(reply)
    frames, chunks = frames_of(session)
    assert [frame.kind for frame in frames] == [
        FrameKind.SUMMARY,
        FrameKind.ABORTED,
        FrameKind.SUMMARY,
        FrameKind.SCALAR,
    ]
    assert [frame.sequence for frame in frames] == [1, 2, 3, 4]
    assert frames[1].payload == b"a frame of 65584 bytes; the daemon takes 64512"
    assert {chunk.sequence for chunk in chunks} == ({1, 3} if sizes else set())

    # What was not acknowledged is sent again, and rejected only once.
    session.disconnected()
    session.opened(reply)
    assert frames_of(session)[0] == frames
    session.acknowledged(pb.Acknowledged(written_sequence=4))
    statistics = session.statistics()
    assert dict(statistics.rejected) == {"RECORD_TOO_LARGE": 1}
    assert (statistics.written, statistics.pending, statistics.arena_used_bytes) == (3, 0, 0)
    assert run.last_rejection.startswith("RECORD_TOO_LARGE: a frame of 65584 bytes")


def test_what_never_fits_is_told_from_what_does_not_fit_now() -> None:
    session = Session(
        bytes(16),
        Ring(memoryview(bytearray(1 << 12)), reserve_bytes=1 << 10),
        Arena(memoryview(bytearray(1 << 12))),
    )
    run = session.define_run(pb.RunDefinition(logdir="/logs"))
    series = session.define_series(run, "tag")
    largest = (2 << 10) - framing.HEADER_BYTES
    assert session.claim(series, 0, 1.0, b"x" * (largest + 1), []) == "record_too_large"
    assert session.claim(series, 0, 1.0, b"x", [4000, 65]) == "tensor_too_large"
    assert isinstance(session.claim(series, 0, 1.0, b"x" * 1600, [4000, 64]), Capture)
    assert session.claim(series, 0, 1.0, b"x", [4000, 1]) == "arena_full"
    assert session.claim(series, 0, 1.0, b"x" * largest, []) == "log_full"
