"""What is appended at once is bounded by the events that are made of it."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from boardd.core.intake.columns import SCALAR_BYTES, Columns
from boardd.core.runs.run_state import RunState
from boardd.core.session.batch import ScalarPart
from boardd.runs.writing.run_order import APPEND_BYTES, RunOrder

RECORDS = 8192


def scalars(run: RunState) -> ScalarPart:
    numbers = np.arange(RECORDS)
    columns = Columns(
        numbers.astype(np.uint64), numbers, numbers.astype(np.float64), numbers.astype(np.float64)
    )
    size_bytes = RECORDS * SCALAR_BYTES
    tags = np.zeros(RECORDS, np.intp)
    return ScalarPart(bytes(16), run, None, 0, RECORDS, size_bytes, columns, tags)


@pytest.mark.parametrize(("tag_bytes", "expected_parts"), [(4, 8), (1000, 2)])
def test_long_tags_make_appends_of_fewer_scalars(tag_bytes: int, expected_parts: int) -> None:
    async def test() -> None:
        run = RunState("/run", "/run", "", 10)
        run.tag_index("t" * tag_bytes)
        order = RunOrder()
        for _ in range(16):
            order.append(scalars(run))
        taken = order.take()
        assert len(taken) == expected_parts
        assert (len(taken) - 1) * RECORDS * tag_bytes < APPEND_BYTES

    asyncio.run(test())
