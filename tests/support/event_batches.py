"""Batches of scalars, as event files get them.

It imports little: tests start dozens of processes that write them.
"""

from __future__ import annotations

from boardd.events import event
from boardd.events.values import scalar_value

BATCHES = 6
BATCH_EVENTS = 8
STEPS = list(range(BATCHES * BATCH_EVENTS))


def scalar(step: int) -> bytes:
    return event.summary(1.7e9, step, scalar_value("loss", float(step)))


def batch(number: int) -> bytes:
    return b"".join(
        scalar(step) for step in range(number * BATCH_EVENTS, (number + 1) * BATCH_EVENTS)
    )
