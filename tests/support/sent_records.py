"""The records with a payload that a scripted daemon gets of a writer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from boardd_client import SummaryWriter
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameKind

from support.scripted_daemon import ScriptedDaemon


class Sent(NamedTuple):
    """One record with a payload."""

    tag: str
    sub_run: str
    step: int
    payload: pb.Payload
    tensors: list[np.ndarray]


def send(daemon: ScriptedDaemon, log: Callable[[SummaryWriter], Any]) -> list[Sent]:
    """What arrives of what ``log`` logs, scalars left out."""
    with SummaryWriter("/logs", address=daemon.address) as sw:
        log(sw)
        assert sw.flush(timeout=60)
    series = {s.series: s for message in daemon.definitions for s in message.series}
    sent = []
    for frame in daemon.all_frames:
        if frame.kind != FrameKind.SUMMARY:
            continue
        payload = pb.Payload.FromString(frame.payload)
        tensors = [
            np.frombuffer(
                daemon.all_tensors.get((frame.sequence, number), b""), tensor.dtype
            ).reshape(tuple(tensor.shape))
            for number, tensor in enumerate(payload.tensors)
        ]
        del payload.tensors[:]
        found = series[frame.target]
        sent.append(Sent(found.tag, found.sub_run, frame.step, payload, tensors))
    return sent
