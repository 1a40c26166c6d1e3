"""What a service is charged for is what its process holds, before and after reductions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from boardd.host.heap import give_back, own_bytes
from boardd.runs.writing.reduction_pool import UNWRITTEN_BYTES
from boardd_protos import boardd_pb2 as pb
from support.raw_client import RawClient, scalar, serving, summary
from support.service_reading import run_async
from support.shared_client import FIRST, SharedClient, freed
from support.waiting import until

pytestmark = pytest.mark.usefixtures("no_defects")

TENSOR_BYTES = 512 << 10
#: More than twice as many as a run may have reduced and not written.
RECORDS = 160
SLACK_BYTES = 24 << 20
NOISE = np.random.default_rng(7).integers(0, 256, TENSOR_BYTES, np.uint8)


def payload(*slots: pb.Slot) -> pb.Payload:
    tensor = pb.Tensor(dtype="uint8", shape=[TENSOR_BYTES])
    return pb.Payload(tensors=[tensor], slots=slots, tensor=pb.TensorSummary())


async def log_by_value(client: RawClient) -> int:
    await client.begin(tags={1: "tensor"})
    for number in range(1, RECORDS + 1):
        await client.tensor(number, NOISE.tobytes())
        await client.records(summary(number, payload()))
    return RECORDS


async def log_shared(client: SharedClient) -> int:
    await client.begin(tags={1: "tensor"})
    slot = pb.Slot(map=0, offset=client.place(NOISE), size_bytes=TENSOR_BYTES)
    first = FIRST + 1
    await client.log(*(summary(number, payload(slot)) for number in range(first, first + RECORDS)))
    return FIRST + RECORDS


@pytest.mark.parametrize("is_shared", [False, True])
def test_the_process_holds_no_more_than_the_intake_is_charged(
    tmp_path: Path, *, is_shared: bool
) -> None:
    async def test(path: Path) -> None:
        # One service has the run, so that the records wait at the other.
        async with serving(path) as first, serving(path, retry_secs=0.01) as harness:
            holder = await first.client().begin()
            await holder.records(scalar(1))
            await holder.acknowledged(1)
            with freed(SharedClient(harness.channel, harness.socket)) as shared_client:
                give_back()  # what earlier tests have freed would be taken first
                before = own_bytes()
                client = shared_client if is_shared else harness.client()
                last = await (log_shared(client) if is_shared else log_by_value(client))
                await until(lambda: harness.status().counters.pending == RECORDS)
                expected_bytes = UNWRITTEN_BYTES if is_shared else RECORDS * TENSOR_BYTES
                await until(lambda: harness.status().intake_bytes >= expected_bytes)
                charged_bytes, held_bytes = harness.status().intake_bytes, own_bytes() - before
                assert charged_bytes <= 1.2 * expected_bytes
                assert held_bytes <= 1.5 * charged_bytes + SLACK_BYTES
                assert (await holder.close()).closed
                await client.acknowledged(last)
                assert harness.status().intake_bytes == 0

    run_async(test, tmp_path)
