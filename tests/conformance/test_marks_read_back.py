"""Marks in the event files change nothing that TensorBoard's readers show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tbparse
from boardd.core.runs.contents import RunContents
from boardd.events import event
from boardd.events.marks import Part
from boardd.events.values import image_value, scalar_value
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.event_file import EventFile
from boardd.runs.event_files.mark_writer import MarkWriter
from boardd_protos import boardd_pb2 as pb
from support.independent_reader import events
from support.raw_client import definitions, histogram_payload, scalar, serving, summary
from support.service_reading import run_async
from support.tensorboard_reader import Loader, event_files, open_reader
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

NOW = 1_700_000_000.0
#: The number of a mark's field.
MARK = 20111
#: That ``write_run`` logs, from 0 on.
LOGGED_STEPS = 235

loaders = pytest.mark.parametrize("loader", ["python", "rust"])


def write_run(root: Path, name: str, *, has_marks: bool, starts: float = NOW) -> Path:
    """Writes a run of two files, whose appends are of a few events each."""
    clock: Callable[[], float] = lambda: starts  # noqa: E731
    with Roots([root]).open_run(name) as directory:
        contents = RunContents()
        sequence = 0
        for _ in range(2):
            marks = MarkWriter(contents, clock) if has_marks else None
            file = EventFile(directory, hostname="host", clock=clock, marks=marks)
            for _ in range(30):
                data = b""
                count = 1 + sequence % 4
                for step in range(sequence, sequence + count):
                    time = starts + 1 + step / 2
                    data += event.summary(time, step, scalar_value("loss", step / 8))
                    if step % 5 == 0:
                        data += event.summary(time, step, image_value("i", bytes(step), 2, 2, 3))
                events_in = data.count(b"loss") + data.count(b"\x0a\x01i")
                sequences = np.arange(sequence + 1, sequence + 1 + events_in, dtype=np.uint64)
                file.append(data, [Part(b"s" * 16, sequences)])
                sequence += count
            file.close()
        assert sequence == LOGGED_STEPS
        return directory.path


@loaders
def test_readers_show_the_same_with_and_without_marks(tmp_path: Path, loader: Loader) -> None:
    for name in ("marked", "plain"):
        path = write_run(tmp_path, name, has_marks=name == "marked")
        kinds = [one.fields for file in event_files(path) for one in events(file)]
        assert (sum(MARK in fields for fields in kinds) == 60) == (name == "marked")
    with open_reader(tmp_path, loader) as reader:
        scalars, images = reader.scalars(), reader.images()
        listed = reader.data_provider.list_runs(reader._context, experiment_id="")
        starts = {run.run_name: run.start_time for run in listed}
    assert len(scalars["plain"]["loss"]) > 100
    assert scalars["marked"] == scalars["plain"]
    assert len(images["plain"]["i"]) > 20
    assert images["marked"] == images["plain"]
    assert starts == {"marked": NOW, "plain": NOW}


def test_every_mark_has_a_wall_time(tmp_path: Path) -> None:
    """Else the data server takes 1970 for the start of a run whose file begins with one."""
    path = write_run(tmp_path, "run", has_marks=True)
    for file in event_files(path):
        for one in events(file):
            assert one.wall_time is not None
            assert one.wall_time >= NOW
            if MARK in one.fields:
                assert one.fields == {1, MARK}


def test_scripts_that_read_event_files_find_the_same(tmp_path: Path) -> None:
    """As pandas readers such as tbparse do: an accumulator over each file by itself."""
    found = {}
    for name in ("marked", "plain"):
        path = write_run(tmp_path, name, has_marks=name == "marked")
        found[name] = []
        for file in event_files(path):
            accumulator = EventAccumulator(str(file), {"scalars": 0, "images": 0, "tensors": 0})
            accumulator.Reload()
            found[name].append(
                (
                    accumulator.Tags(),
                    [(one.wall_time, one.step, one.value) for one in accumulator.Scalars("loss")],
                    [image.step for image in accumulator.Images("i")],
                    accumulator.FirstEventTimestamp(),
                )
            )
    assert found["marked"] == found["plain"]


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of pandas, which tbparse uses
def test_tbparse_reads_what_was_logged(tmp_path: Path) -> None:
    """All scalars and nothing else; what it reads beside scalars needs TensorFlow."""
    path = write_run(tmp_path, "run", has_marks=True)
    read = tbparse.SummaryReader(str(path), event_types={"scalars"}, extra_columns={"wall_time"})
    found = read.scalars.sort_values("step")
    steps = np.arange(LOGGED_STEPS)
    assert set(found["tag"]) == {"loss"}
    np.testing.assert_array_equal(found["step"], steps)
    np.testing.assert_array_equal(found["value"], steps / 8)
    np.testing.assert_array_equal(found["wall_time"], NOW + 1 + steps / 2)


@loaders
def test_writers_of_one_process_that_share_a_run_keep_call_order(
    tmp_path: Path, loader: Loader
) -> None:
    root: list[Path] = []

    async def test(path: Path) -> None:
        async with serving(path) as daemon:
            client = await daemon.client().begin(tags={1: "loss"})
            await client.send(definitions=definitions("run", {2: "loss"}, run=2))
            frames = [scalar(step, step / 2, series=1 + step % 2) for step in range(1, 201)]
            await client.records(*frames)
            await client.acknowledged(200)
            assert daemon.status().counters.written == 200
            assert (await client.close()).closed
            root.append(daemon.root)

    run_async(test, tmp_path)
    with open_reader(root[0], loader) as reader:
        points = reader.scalars()["run"]["loss"]
    assert [point.step for point in points] == list(range(1, 201))


def test_a_tag_stays_what_it_was_across_daemons(tmp_path: Path) -> None:
    async def test(path: Path) -> None:
        async with serving(path) as daemon:
            client = await daemon.client().begin(tags={1: "loss"})
            await client.records(scalar(1))
            await client.acknowledged(1)
            await client.close()
        for _ in range(2):
            async with serving(path) as daemon:
                client = await daemon.client().begin(tags={1: "loss"})
                values = np.ones(3)
                await client.tensor(1, values)
                await client.records(summary(1, histogram_payload(values)), scalar(2))
                await client.acknowledged(2)
                (rejected,) = client.rejected
                assert (rejected.reason, rejected.records) == (pb.INVALID_NAME, 1)
                assert (await client.close()).closed

    run_async(test, tmp_path)
