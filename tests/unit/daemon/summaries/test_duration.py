"""How long reductions are expected to take."""

from __future__ import annotations

from typing import Any

import pytest
from boardd.summaries.duration import secs_of
from boardd_protos import boardd_pb2 as pb

BRIEF_SECS, LONG_SECS = 0.05, 0.5


def payload(*shape: int, dtype: str = "float32", **kind: Any) -> pb.Payload:
    return pb.Payload(tensors=[pb.Tensor(dtype=dtype, shape=shape)], **kind)


@pytest.mark.parametrize(
    "brief",
    [
        payload(10_000, histogram=pb.Histogram(count=30)),
        payload(3, 256, 256, image=pb.Image(padding=2)),
        payload(1000, 64, embedding=pb.Embedding(project_to=3)),
        payload(20_000, 50, embedding=pb.Embedding()),
        payload(1, 8, 3, 32, 32, video=pb.Video()),
        pb.Payload(text=pb.Text()),
    ],
)
def test_what_is_logged_often_is_brief(brief: pb.Payload) -> None:
    assert secs_of(brief) < BRIEF_SECS


@pytest.mark.parametrize(
    "long",
    [
        payload(1 << 27, histogram=pb.Histogram(count=30)),
        payload(11_000, 11_000, embedding=pb.Embedding(project_to=200)),
        payload(1000, 130_000, embedding=pb.Embedding(project_to=200)),
        payload(1, 100, 3, 256, 256, video=pb.Video()),
        payload(1, 100_000, 1, 1, 1, video=pb.Video()),
        payload(100_000, 1, 1, 1, 1, video=pb.Video(dataformats="TNCHW")),
        payload(100, 3, 8, 8, image=pb.Image(padding=2000)),
        payload(8192, 8192, image=pb.Image()),
    ],
)
def test_what_holds_a_thread_for_long_is_long(long: pb.Payload) -> None:
    assert secs_of(long) > LONG_SECS


def test_what_is_refused_at_once_is_brief() -> None:
    huge = (1 << 64) - 1
    assert secs_of(payload(*[huge] * 32, histogram=pb.Histogram())) == 0
    assert secs_of(payload(*[huge] * 100_000, video=pb.Video())) == 0
    assert secs_of(payload(5, embedding=pb.Embedding(project_to=2))) < BRIEF_SECS
    assert secs_of(pb.Payload(video=pb.Video())) == 0
