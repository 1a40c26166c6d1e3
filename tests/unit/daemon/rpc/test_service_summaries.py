"""One kind for each tag, and side files, over a real socket."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from boardd_protos import boardd_pb2 as pb
from support.raw_client import Harness, histogram_payload, scalar, scalars, serving, summary
from support.service_reading import events_of, reasons, run_async

pytestmark = pytest.mark.usefixtures("no_defects")


def event_file(harness: Harness) -> Path:
    """The only event file of the run."""
    (found,) = (path for path in harness.files() if "tfevents" in path.name)
    return found


def steps_of(harness: Harness) -> list[int]:
    return [event.step for event in events_of(event_file(harness))[1:]]


# One tag, one kind


def test_a_tag_stays_what_it_was_first(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        values = np.random.default_rng(0).normal(size=500_000)
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "weights", 2: "loss", 3: "both"})
            # The histogram comes first, though its reduction takes longer.
            few = np.ones(3)
            await client.tensor(1, values)
            await client.tensor(302, few)
            await client.tensor(303, few)
            await client.records(
                summary(1, histogram_payload(values)),
                *(scalar(number, series=number % 3 + 1) for number in range(2, 302)),
                summary(302, histogram_payload(few), series=2),
                summary(303, histogram_payload(few)),
            )
            await client.acknowledged(303)
            good = [number for number in range(2, 302) if number % 3]
            assert steps_of(harness) == [1, *good, 303]
            assert reasons(harness) == {"INVALID_NAME": 101}
            told = [(item.sequence, item.records, item.message) for item in client.rejected]
            why = "in this run and cannot be a {} too, which TensorBoard does not read; "
            why += "choose another tag"
            assert told == [
                (3, 100, "tag 'weights' is a histogram " + why.format("scalar")),
                (302, 1, "tag 'loss' is a scalar " + why.format("histogram")),
            ]
            assert harness.status().intake_bytes == 0
            assert (await client.close()).closed

    run_async(test, tmp_path)


def test_scalars_that_are_all_refused_end_the_run_like_others(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            client = await harness.client().begin()
            await client.tensor(1, np.ones(3))
            await client.records(summary(1, histogram_payload(np.ones(3))), scalars(2, 50))
            await client.acknowledged(51)
            assert (await client.close()).closed
            assert sum(item.records for item in client.rejected) == 50
            assert steps_of(harness) == [1]

    run_async(test, tmp_path)


def test_another_run_may_use_the_tag_for_another_kind(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as harness:
            first = await harness.client().begin("first")
            second = await harness.client().begin("second")
            await first.records(scalar(1))
            await second.tensor(1, np.ones(3))
            await second.records(summary(1, histogram_payload(np.ones(3))))
            await first.acknowledged(1)
            await second.acknowledged(1)
            assert not reasons(harness)

    run_async(test, tmp_path)


def test_what_a_histogram_counts_beside_it_needs_its_tags_too(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        whole, holed = np.ones(2), np.array([1, np.nan])
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "w", 2: "w/nan"})
            for sequence, values in enumerate([whole, holed, whole], start=1):
                await client.tensor(sequence, values)
            await client.records(
                summary(1, histogram_payload(whole), series=2),
                summary(2, histogram_payload(holed)),
                summary(3, histogram_payload(whole)),
            )
            await client.acknowledged(3)
            assert steps_of(harness) == [1, 3]
            (rejected,) = client.rejected
            assert "'w/nan' is a histogram" in rejected.message

    run_async(test, tmp_path)


# Side files


def test_an_embedding_is_written_in_its_place_and_charged(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        matrix = np.random.default_rng(0).normal(size=(50, 300)).astype(np.float32)
        payload = pb.Payload(
            tensors=[pb.Tensor(dtype="float32", shape=matrix.shape)],
            embedding=pb.Embedding(project_to=0, has_step=True),
        )
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "words", 2: "loss"})
            await client.records(scalar(1, series=2))
            await client.tensor(2, matrix.tobytes())
            await client.records(summary(2, payload), scalar(3, series=2))
            await client.acknowledged(3)
            run = harness.root / "run"
            data = (run / "words_000002" / "tensors.bytes").read_bytes()
            assert data == matrix.tobytes()
            assert 'tensor_name: "words_000002"' in (run / "projector_config.pbtxt").read_text()
            status = harness.status()
            assert (status.counters.written, status.intake_bytes) == (3, 0)
            assert status.counters.written_bytes > matrix.nbytes
            assert steps_of(harness) == [1, 2, 3]

    run_async(test, tmp_path)


def test_an_embedding_that_cannot_be_written_is_rejected_alone(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        payload = pb.Payload(
            tensors=[pb.Tensor(dtype="int8", shape=[1, 2])], embedding=pb.Embedding()
        )
        async with serving(path) as harness:
            client = await harness.client().begin(tags={1: "taken", 2: "loss"})
            await client.records(scalar(1, series=2))
            await client.acknowledged(1)
            (harness.root / "run" / "taken").write_text("a file")
            await client.tensor(2, b"ab")
            await client.records(summary(2, payload), scalar(3, series=2))
            await client.acknowledged(3)
            assert reasons(harness) == {"NOT_A_DIRECTORY": 1}
            assert "taken" in client.rejected[0].message
            assert steps_of(harness) == [1, 3]

    run_async(test, tmp_path)


def test_a_removed_directory_is_made_anew_for_an_embedding(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        payload = pb.Payload(
            tensors=[pb.Tensor(dtype="int8", shape=[1, 2])], embedding=pb.Embedding()
        )
        async with serving(path, retry_secs=0.01) as harness:
            client = await harness.client().begin(tags={1: "words"})
            await client.tensor(1, b"ab")
            await client.records(summary(1, payload))
            await client.acknowledged(1)
            shutil.rmtree(harness.root / "run")
            await client.tensor(2, b"ab")
            await client.records(summary(2, payload))
            await client.acknowledged(2)
            run = harness.root / "run"
            assert (run / "words").is_dir()
            assert (run / "projector_config.pbtxt").exists()
            assert steps_of(harness) == [2]

    run_async(test, tmp_path)
