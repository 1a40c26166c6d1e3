"""What one session logs does not keep another's waiting."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from boardd.core.budget import Budgets
from boardd_protos import boardd_pb2 as pb
from support.raw_client import LOSS, RawClient, histogram_payload, serving, summary
from support.service_reading import run_async

pytestmark = pytest.mark.usefixtures("no_defects")

#: Rows and columns of a matrix whose projection takes a good part of a second.
SLOW_SIDE = 900
#: So many are still on their way whatever holds the test itself up for seconds.
SLOW_RECORDS = 4


async def log_slow_embedding(client: RawClient, sequence: int) -> None:
    matrix = np.random.default_rng(sequence).standard_normal((SLOW_SIDE, SLOW_SIDE))
    tensor = pb.Tensor(dtype="float32", shape=matrix.shape)
    payload = pb.Payload(tensors=[tensor], embedding=pb.Embedding(project_to=50))
    await client.tensor(sequence, matrix.astype(np.float32))
    await client.records(summary(sequence, payload))


async def log_histogram(client: RawClient, sequence: int) -> None:
    values = np.arange(1000, dtype=np.float32)
    await client.tensor(sequence, values)
    await client.records(summary(sequence, histogram_payload(values)))


def test_a_slow_projection_holds_up_no_other_session(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path, Budgets(reducers=1)) as harness:
            slow = await harness.client().begin("slow", {LOSS: "embedding"})
            for sequence in range(1, SLOW_RECORDS + 1):
                await log_slow_embedding(slow, sequence)
            brief = await harness.client().begin("brief", {LOSS: "histogram"})
            for sequence in range(1, 6):
                await log_histogram(brief, sequence)
            reply = await brief.flush(5)
            assert reply.reached, reply.message
            assert slow.written_sequence < SLOW_RECORDS, "it was too fast for this test"
            assert (await slow.flush(SLOW_RECORDS, timeout_secs=60.0)).reached

    run_async(test, tmp_path)
