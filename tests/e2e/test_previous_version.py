"""The previous minor version and this one speak to each other, and take over from each other.

``tests/previous`` has its wheel, and says how that was built.
"""

from __future__ import annotations

import io
import json
import select
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd_client import SummaryWriter
from boardd_protos import __version__
from packaging.version import Version
from PIL import Image
from support import version_trip as trip
from support.daemon_process import DaemonProcess
from support.environments import REPOSITORY, THIS, Environment, environment_beside_this
from support.tensorboard_reader import Reader, open_reader
from tensorboard.plugins.hparams import plugin_data_pb2

pytestmark = pytest.mark.slow

(WHEEL,) = (REPOSITORY / "tests/previous").glob("*.whl")
PREVIOUS_VERSION = WHEEL.name.split("-")[1]

EVERYTHING_SECS = 600.0


@pytest.fixture(scope="module")
def previous() -> Environment:
    return environment_beside_this("previous", WHEEL)


@contextmanager
def trainer(environment: Environment, daemon: DaemonProcess) -> Iterator[subprocess.Popen[str]]:
    """Logs with the client of ``environment``; its process ends with the body."""
    with subprocess.Popen(
        [str(environment.python), str(trip.__file__), str(daemon.logdir), daemon.address],
        cwd="/",
        env={**environment.environ(), "BOARDD_AUTOSTART": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def first_half(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it reports of the first half, which is written then."""
    assert process.stdout is not None
    is_told, _, _ = select.select([process.stdout], [], [], EVERYTHING_SECS)
    line = process.stdout.readline() if is_told else ""
    if not line:
        process.kill()
        raise AssertionError(process.communicate(timeout=EVERYTHING_SECS)[1])
    report: dict[str, Any] = json.loads(line)
    return report


def status(environment: Environment, daemon: DaemonProcess) -> str:
    """What ``boardd status`` of ``environment`` prints about the daemon."""
    return environment.run(
        *("-m", "boardd", "status", "--socket", str(daemon.socket)), cwd=Path("/")
    ).stdout


def assert_all_shown(reader: Reader, run: str, halves: list[int], tags: tuple[str, ...]) -> None:
    """TensorBoard shows each thing of the halves once; histograms of ``tags`` too."""
    steps = [half * trip.STEPS + step for half in halves for step in range(trip.STEPS)]
    firsts = [half * trip.STEPS for half in halves]
    loss = reader.scalars()[run][trip.SCALAR_TAG]
    assert [(point.step, point.value) for point in loss] == [
        (step, np.float32(1.0 / (1 + step))) for step in steps
    ]
    histograms = reader.histograms()[run]
    for tag, values in ((trip.HISTOGRAM_TAG, trip.values), *((tag, trip.small) for tag in tags)):
        assert [point.step for point in histograms[tag]] == firsts
        for half, point in zip(halves, histograms[tag], strict=True):
            counts, _ = np.histogram(values(half).astype(np.float64), bins=trip.BINS)
            np.testing.assert_array_equal(point.buckets[:, 2], counts)
    images = reader.images()[run][trip.IMAGE_TAG]
    assert [point.step for point in images] == firsts
    for point in images:
        pixels = np.asarray(Image.open(io.BytesIO(point.encoded)))
        np.testing.assert_array_equal(pixels, trip.image().transpose(1, 2, 0))
    (texts,) = (
        series for tag, series in reader.tensors("text")[run].items() if tag.startswith("notes")
    )
    assert [(point.step, point.array.item()) for point in texts] == [
        (first, trip.TEXT.encode()) for first in firsts
    ]
    for half in halves:
        sub_run = f"{run}/{trip.TRIAL}_{half}"
        (accuracy,) = reader.scalars()[sub_run]["accuracy"]
        assert (accuracy.step, accuracy.value) == (half * trip.STEPS, 0.75)
        contents = reader.plugin_contents("hparams")[sub_run]
        (info,) = (
            content.session_start_info
            for content in map(plugin_data_pb2.HParamsPluginData.FromString, contents.values())
            if content.HasField("session_start_info")
        )
        assert info.hparams["lr"].number_value == 0.125
        assert info.hparams["optimizer"].string_value == "sgd"


def assert_shown_by_version(reader: Reader, run: str, kept: list[int], cleaned: list[int]) -> None:
    """What 0.1.0 does not know is there, in halves of 0.2.0 and in those of 0.1.0."""
    scalars = reader.scalars()[run]
    exact = [(point.step, point.value) for point in scalars[trip.EXACT_TAG]]
    assert exact == [(half * trip.STEPS, 0.5 + half) for half in (*kept, *cleaned)]
    for tag, halves in ((trip.GIVEN_TAG, kept), (trip.CLEANED_TAG, cleaned)):
        steps = [point.step for point in scalars.get(tag, [])]
        assert steps == [half * trip.STEPS for half in halves]


def assert_ranks_shown(reader: Reader, text_halves: list[int]) -> None:
    """Each rank's own run has its scalars, and its texts of those halves."""
    for rank in range(2):
        run = f"ranks/rank_{rank}"
        loss = reader.scalars()[run][trip.SCALAR_TAG]
        assert [(point.step, point.value) for point in loss] == [(0, rank), (trip.STEPS, rank)]
        texts = reader.tensors("text").get(run, {})
        found = {
            (point.step, point.array.item().decode())
            for series in texts.values()
            for point in series
        }
        assert found == {(half * trip.STEPS, f"{trip.TEXT} {rank}") for half in text_halves}


def test_the_previous_version_is_that_of_the_minor_before() -> None:
    previous, this = Version(PREVIOUS_VERSION), Version(__version__)
    assert (previous.major, previous.minor + 1) == (this.major, this.minor)


def test_a_client_may_start_a_daemon_of_the_version_before(
    previous: Environment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_COMMAND", f"{previous.python} -m boardd")
    with SummaryWriter(tmp_path / "logs") as sw:
        trip.log_newer(sw, 0)  # while nothing is known of it
        assert sw.flush(trip.FLUSH_SECS)
        statistics = sw.statistics()
    assert (statistics.transport, dict(statistics.rejected)) == ("shared", {})
    with open_reader(tmp_path / "logs") as reader:
        (scalars,) = reader.scalars().values()
        assert {tag: series[0].value for tag, series in scalars.items()} == {
            trip.EXACT_TAG: 0.5,
            trip.CLEANED_TAG: 0.25,
        }
        (histograms,) = reader.histograms().values()
        assert set(trip.TOGETHER_TAGS) <= set(histograms)


@pytest.mark.parametrize("change", ["upgrade", "rollback"])
def test_a_client_goes_on_when_its_daemon_is_replaced_by_one_of_the_other_version(
    change: str, previous: Environment, tmp_path: Path
) -> None:
    """In memory that is shared, and beside it over TCP, where only the second daemon is met."""
    if change == "upgrade":
        client, before, after, version = previous, previous, THIS, __version__
    else:
        client, before, after, version = THIS, THIS, previous, PREVIOUS_VERSION
    with DaemonProcess(tmp_path, python=before.python) as daemon:
        socket = daemon.socket
        with trainer(client, daemon) as process:
            first = first_half(process)
            if change == "upgrade":
                daemon.kill()
            else:
                assert daemon.terminate() == 0
            with DaemonProcess(
                tmp_path, "--listen", "127.0.0.1:0", socket=socket, python=after.python
            ) as successor:
                assert successor.status().version == version
                out, err = process.communicate(
                    f"{successor.tcp_address}\n", timeout=EVERYTHING_SECS
                )
                assert process.returncode == 0, err
                shown = status(client, successor)
        if change == "rollback":  # the merged run waits for a daemon that merges
            socket.with_name(f"{socket.name}.groups").unlink()
    last = json.loads(out.splitlines()[-1])
    assert first["version"] == (PREVIOUS_VERSION if change == "upgrade" else __version__)
    assert (last["first"]["transport"], last["second"]["transport"]) == ("shared", "by value")
    for run in ("first", "second"):
        assert last[run]["accepted"] == last[run]["written"]
    assert shown.startswith(f"boardd {version}, ")
    assert " + 0 rejected + 0 pending" in shown
    tags = () if change == "upgrade" else trip.TOGETHER_TAGS
    with open_reader(tmp_path / "logs") as reader:
        assert_all_shown(reader, "first", [0, 1], tags)
        assert_all_shown(reader, "second", [1], tags)
        # A rank of 0.2.0 keeps its scalars, unless it is asked for all.
        assert_ranks_shown(reader, [0, 1] if change == "upgrade" else [1])
        if change == "rollback":
            assert_shown_by_version(reader, "first", [0], [1])
            assert_shown_by_version(reader, "second", [], [1])
            assert err.count(f"it writes the tag {trip.GIVEN_TAG!r} as") == 2  # daemons
