"""The service and the first NaN of a run: it is told whatever becomes of a step's records."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from boardd_protos import boardd_pb2 as pb
from support.raw_client import Harness, RawClient, end_run, histogram_payload, serving, summary
from support.service_reading import events_of, reasons, run_async

pytestmark = pytest.mark.usefixtures("no_defects")

TAGS = {1: "gradients/w", 2: "gradients/b"}
BAD = np.array([1.0, np.nan])


async def watch(
    client: RawClient,
    sequence: int,
    step: int,
    part: int,
    values: np.ndarray = BAD,
    *,
    told_size: int = len(BAD),
) -> None:
    """Sends one of two records of a step; it is refused unless ``told_size`` is right."""
    payload = histogram_payload(values)
    payload.tensors[0].shape[:] = [told_size]
    name = TAGS[part + 1]
    payload.health.CopyFrom(pb.Health(tag="health", names=[name], part=part, parts=2))
    await client.tensor(sequence, values)
    await client.records(summary(sequence, payload, series=part + 1, step=step))


def told(harness: Harness) -> list[tuple[int, str]]:
    """The step of each text of a first NaN, and the step that it names."""
    return [
        (event.step, value.tensor.string_val[0].decode().partition(" at ")[2].partition(":")[0])
        for path in harness.files()
        for event in events_of(path)
        for value in event.summary.value
        if value.tag == "health/first_nan" and value.tensor.string_val
    ]


def test_the_first_nan_is_told_though_a_tensor_of_its_step_is_refused(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin(tags=TAGS)
            await watch(client, 1, 4, 0, told_size=7)
            await watch(client, 2, 4, 1)
            await client.acknowledged(2)
            assert told(harness) == [(4, "step 4")]
            await client.until(lambda: len(client.rejected) == 1)
            assert sum(reasons(harness).values()) == 1

    run_async(test, tmp_path)


def test_a_run_that_is_purged_tells_its_next_first_nan(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            first = await harness.client().begin(tags=TAGS, epoch=1)
            await watch(first, 1, 4, 0)
            await first.records(end_run(2))  # within the step
            await first.acknowledged(2)
            assert told(harness) == [(4, "step 4")]
            for epoch, purge_step in ((2, 3), (3, 6)):  # the second leaves step 5 as it is
                writer = await harness.client().begin(tags=TAGS, epoch=epoch, purge_step=purge_step)
                await watch(writer, 1, purge_step + 2, 0)
                await watch(writer, 2, purge_step + 2, 1)
                await writer.acknowledged(2)
                assert told(harness)[1:] == [(5, "step 5")]
            counters = harness.status().counters
            assert counters.accepted == counters.written

    run_async(test, tmp_path)


def test_what_an_older_writer_knows_of_a_step_ends_with_a_purge(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            older = await harness.client().begin(tags=TAGS, epoch=1)
            await watch(older, 1, 4, 0)
            await older.acknowledged(1)
            newer = await harness.client().begin(tags=TAGS, epoch=2, purge_step=3)
            await watch(newer, 1, 3, 1, np.ones(2))
            await newer.acknowledged(1)
            await older.records(end_run(2))
            await older.acknowledged(2)
            assert told(harness) == []

    run_async(test, tmp_path)
