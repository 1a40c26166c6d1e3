"""Training goes on from a checkpoint: its run shows one clean curve, and the past is fenced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import LOADERS, Loader, open_reader, read_events, read_scalars

#: Logs 20 steps, and more each time it is told to, until its input ends.
TRAINER = """
import json, os, sys
import numpy as np
from boardd_client import SummaryWriter

sw = SummaryWriter(sys.argv[1])

def train(steps):
    for step in steps:
        sw.add_scalar("loss", -1.0, step)
        sw.add_scalar("tag not logged again", -1.0, step)
        sw.add_scalar("curves", {"a": -1.0}, step)
        sw.add_histogram("weights", np.arange(5.0), step)
        sw.add_image("image", np.zeros((1, 4, 4), np.float32), step)
        sw.add_text("text", "old", step)
        sw.add_audio("audio", np.zeros(8, np.float32), 100, step)
        sw.add_pr_curve("pr", [0, 1], [0.25, 0.75], 5, step)
        sw.add_mesh("mesh", np.zeros((1, 3, 3)), global_step=step)
        sw.add_tensor("tensor", np.zeros(3), step)
    result = sw.flush(timeout=60)
    print(json.dumps([result.ok, result.reason, dict(sw.statistics().rejected)]), flush=True)

train(range(20))
for line in sys.stdin:
    train(range(20, 25))
"""

#: Goes on with one curve.
RESUMED = """
import sys
from boardd_client import SummaryWriter
with SummaryWriter(sys.argv[1], purge_step=3) as sw:
    sw.add_scalars("losses", {"a": 1.0}, int(sys.argv[2]))
    assert sw.flush(timeout=60)
"""

PLUGINS = ("text", "pr_curves", "mesh")
STEP = 12


class Trainer:
    """A training process, and what it told after its last steps."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.told = self._read()

    def go_on(self) -> None:
        """Lets it log five steps more."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self.told = self._read()

    def _read(self) -> tuple[bool, str, dict[str, int]]:
        assert self.process.stdout is not None
        ok, reason, rejected = json.loads(self.process.stdout.readline())
        return ok, reason, rejected


@contextmanager
def training(logdir: Path, daemon: DaemonProcess) -> Iterator[Trainer]:
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(logdir)],
        env={**os.environ, "BOARDD_ADDRESS": daemon.address},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            trainer = Trainer(process)
            assert trainer.told[0]
            yield trainer
        finally:
            process.kill()


def shown(logdir: Path, loader: Loader) -> dict[str, list[int]]:
    """The steps of all that TensorBoard shows, by run and tag."""
    with open_reader(logdir, loader) as reader:
        found = {
            "scalars": reader.scalars(),
            "histograms": reader.histograms(),
            "images": reader.images(),
            "audio": reader.tensors("audio") or reader.blobs("audio"),
            **{plugin: reader.tensors(plugin) for plugin in PLUGINS},
        }
    return {
        f"{run}/{tag}": [point.step for point in points]
        for series in found.values()
        for run, tags in series.items()
        for tag, points in tags.items()
    }


@pytest.mark.usefixtures("transport")
def test_the_successor_of_a_stopped_trainer_shows_one_clean_run(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    logdir = tmp_path / "logs" / "run"
    with training(logdir, daemon) as old:
        old.process.send_signal(signal.SIGSTOP)
        with SummaryWriter(logdir, address=daemon.address, purge_step=STEP) as sw:
            for step in range(STEP, STEP + 3):
                sw.add_scalar("loss", 1.0, step)
                sw.add_scalar("curves", {"a": 1.0}, step)
            assert sw.flush(timeout=60)
            old.process.send_signal(signal.SIGCONT)
            old.go_on()
            ok, reason, rejected = old.told
            assert not ok
            assert "SUPERSEDED" in reason
            assert "purge_step" in reason
            # The sub-run of its curve, and all that it logged to the run itself.
            assert rejected == {"SUPERSEDED": 50}
            sw.add_scalar("loss", 1.0, STEP + 3)
            assert sw.flush(timeout=60)
        for loader in LOADERS:
            steps = shown(logdir.parent, loader)
            resumed = list(range(STEP))
            assert steps.pop("run/loss") == [*resumed, *range(STEP, STEP + 4)]
            assert steps.pop("run/curves/a/curves") == [*resumed, *range(STEP, STEP + 3)]
            assert len(steps) == 7
            assert all(found == resumed for found in steps.values()), (loader, steps)
            values = read_scalars(logdir.parent, loader)["run"]["loss"]
            assert [point.value for point in values] == [-1.0] * STEP + [1.0] * 4


@pytest.mark.usefixtures("transport")
def test_a_run_is_purged_once(daemon: DaemonProcess, tmp_path: Path) -> None:
    """Also when the writer is opened again, and another one shares its epoch."""
    logdir = tmp_path / "logs" / "run"
    with SummaryWriter(logdir, address=daemon.address) as old:
        old.add_scalar("loss", 0.0, 5)
        assert old.flush(timeout=60)
        sw = SummaryWriter(logdir, address=daemon.address, purge_step=3)
        for step in range(3, 6):
            sw.add_scalar("loss", 1.0, step)
            assert sw.close()
            sw.reopen()
        assert sw.close()
        # A writer of the same session is not superseded.
        old.add_scalar("loss", 2.0, 6)
        assert old.flush(timeout=60)
    starts = [event.step for event in read_events(logdir) if event.HasField("session_log")]
    assert starts == [3, 3]
    for loader in LOADERS:
        points = read_scalars(logdir.parent, loader)["run"]["loss"]
        assert [(point.step, point.value) for point in points] == [
            *((3, 1.0), (4, 1.0), (5, 1.0), (6, 2.0))
        ]


@pytest.mark.usefixtures("transport")
def test_a_writer_is_not_superseded_by_a_closed_one_of_its_process(tmp_path: Path) -> None:
    """Also when another daemon comes, which is told of open writers only."""
    logdir = tmp_path / "logs" / "run"
    with DaemonProcess(tmp_path) as first:
        old = SummaryWriter(logdir, address=first.address)
        old.add_scalar("loss", 0.0, 0)
        assert old.flush(timeout=60)
        with SummaryWriter(logdir, address=first.address, purge_step=1) as sw:
            sw.add_scalar("loss", 1.0, 1)
        old.add_scalar("loss", 2.0, 2)
        assert old.flush(timeout=60)
        first.kill()
        with DaemonProcess(tmp_path, socket=first.socket):
            old.add_scalar("loss", 3.0, 3)
            assert old.close(), old.statistics()
    for loader in LOADERS:
        points = read_scalars(logdir.parent, loader)["run"]["loss"]
        assert [point.step for point in points] == [0, 1, 2, 3]


#: Its child logs through the writer that was made before the one that purges.
PARENT = """
import os, pickle, subprocess, sys
from boardd_client import SummaryWriter

old = SummaryWriter(sys.argv[1])
old.add_scalar("loss", 0.0, 0)
assert old.flush(timeout=60)
with SummaryWriter(sys.argv[1], purge_step=1) as sw:
    sw.add_scalar("loss", 1.0, 1)
CHILD = "import pickle, sys; old = pickle.load(sys.stdin.buffer); "
LOG = "old.add_scalar('loss', 2.0, 2); sys.exit(not old.close())"
if sys.argv[2] == "forked":
    pid = os.fork()
    if not pid:
        exec(LOG)
    assert os.waitpid(pid, 0)[1] == 0
else:
    subprocess.run([sys.executable, "-c", CHILD + LOG], input=pickle.dumps(old), check=True)
old.add_scalar("loss", 3.0, 3)
assert old.close()
"""


@pytest.mark.parametrize("child", ["forked", "unpickled"])
def test_a_writer_in_a_child_is_as_young_as_in_its_parent(
    daemon: DaemonProcess, tmp_path: Path, child: str
) -> None:
    logdir = tmp_path / "logs" / "run"
    command = [sys.executable, "-c", PARENT, str(logdir), child]
    environ = {**os.environ, "BOARDD_ADDRESS": daemon.address}
    subprocess.run(command, env=environ, timeout=120, check=True)
    for loader in LOADERS:
        points = read_scalars(logdir.parent, loader)["run"]["loss"]
        assert [point.step for point in points] == [0, 1, 2, 3]


def test_what_was_logged_before_in_the_same_process_is_purged_too(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    """The purge comes between two writers' records, also if they reach the daemon together."""
    logdir = tmp_path / "logs" / "run"
    with (
        SummaryWriter(logdir, address=daemon.address) as old,
        SummaryWriter(logdir, address=daemon.address, purge_step=3) as sw,
        daemon.stop_cont(),
    ):
        for step in range(6):
            old.add_scalar("loss", 0.0, step)
        sw.add_scalar("loss", 1.0, 3)
        old.add_histogram("weights", np.arange(5.0), 4)
    for loader in LOADERS:
        points = read_scalars(logdir.parent, loader)["run"]["loss"]
        assert [(point.step, point.value) for point in points] == [
            *((0, 0.0), (1, 0.0), (2, 0.0), (3, 1.0))
        ]


def test_a_killed_training_goes_on_beside_another_daemon(tmp_path: Path) -> None:
    """What the run holds is known from its files, those of another program too."""
    logdir = tmp_path / "logs" / "run"
    tensorboardx = pytest.importorskip("tensorboardX", reason="needs tensorboardX")
    with tensorboardx.SummaryWriter(str(logdir)) as other:
        for step in range(20):
            other.add_scalar("of another program", step, step)
            other.add_histogram("histogram of another program", np.arange(5.0), step)
    with DaemonProcess(tmp_path) as first:
        with training(logdir, first) as old:
            old.process.kill()
            first.kill()
        with (
            DaemonProcess(tmp_path, socket=first.socket) as second,
            SummaryWriter(logdir, address=second.address, purge_step=STEP) as sw,
        ):
            sw.add_scalar("loss", 1.0, STEP)
            assert sw.flush(timeout=60)
            second.kill()
            with DaemonProcess(tmp_path, socket=first.socket):
                sw.add_scalar("loss", 1.0, STEP + 1)
                assert sw.close()
    starts = [event.step for event in read_events(logdir) if event.HasField("session_log")]
    assert starts == [STEP, STEP]
    for loader in LOADERS:
        steps = shown(logdir.parent, loader)
        assert steps.pop("run/loss") == [*range(STEP), STEP, STEP + 1]
        assert "run/curves/a/curves" in steps
        assert len(steps) == 10
        assert all(found == list(range(STEP)) for found in steps.values()), (loader, steps)


@pytest.mark.usefixtures("transport")
def test_curves_are_purged_with_their_run_whatever_is_logged_first(tmp_path: Path) -> None:
    """And runs that only lie beneath it are not."""
    logdir = tmp_path / "logs" / "run"
    with DaemonProcess(tmp_path) as first:
        with (
            SummaryWriter(logdir, address=first.address) as old,
            SummaryWriter(logdir / "other", address=first.address) as other,
        ):
            for step in range(6):
                old.add_scalar("loss", 0.0, step)
                old.add_scalars("losses", {"a": 0.0, "b": 0.0}, step)
                other.add_scalars("losses", {"a": 0.0}, step)
        first.kill()
    for step in (3, 4):  # the second daemon finds all of it done
        with DaemonProcess(tmp_path, socket=first.socket) as daemon:
            environ = {**os.environ, "BOARDD_ADDRESS": daemon.address, "BOARDD_EPOCH": "7"}
            command = [sys.executable, "-c", RESUMED, str(logdir), str(step)]
            subprocess.run(command, env=environ, timeout=120, check=True)
            daemon.kill()
    expected = {"run": [*range(3)], "run/losses/a": [*range(5)], "run/losses/b": [*range(3)]}
    expected["run/other/losses/a"] = [*range(6)]
    for loader in LOADERS:
        found = read_scalars(logdir.parent, loader)
        steps = {
            run: [point.step for point in points]
            for run, tags in found.items()
            for points in tags.values()
        }
        assert steps == expected, loader


@pytest.mark.usefixtures("transport")
def test_an_older_trainer_stays_fenced_beside_another_daemon(tmp_path: Path) -> None:
    logdir = tmp_path / "logs" / "run"
    with DaemonProcess(tmp_path) as first, training(logdir, first) as old:
        old.process.send_signal(signal.SIGSTOP)
        with SummaryWriter(logdir, address=first.address, purge_step=STEP) as sw:
            sw.add_scalar("loss", 1.0, STEP)
        first.kill()
        with DaemonProcess(tmp_path, socket=first.socket):
            old.process.send_signal(signal.SIGCONT)
            old.go_on()
    ok, reason, rejected = old.told
    assert not ok
    assert "SUPERSEDED" in reason
    # Also of its curve, which the new writer did not log to.
    assert rejected == {"SUPERSEDED": 50}
    for loader in LOADERS:
        assert shown(logdir.parent, loader)["run/loss"] == list(range(STEP + 1))


def test_each_writer_of_a_process_is_told_that_it_was_superseded(daemon: DaemonProcess) -> None:
    logdir = daemon.logdir / "run"
    writers = [SummaryWriter(logdir, address=daemon.address) for _ in range(2)]
    for number, sw in enumerate(writers):
        sw.add_scalar(f"tag{number}", 1.0, 0)
    assert [bool(sw.flush(timeout=60)) for sw in writers] == [True, True]
    successor = (
        "import sys; from boardd_client import SummaryWriter\n"
        "sw = SummaryWriter(sys.argv[1], address=sys.argv[2], purge_step=1)\n"
        "sw.add_scalar('tag0', 2.0, 1)\n"
        "assert sw.close()\n"
    )
    subprocess.run(
        [sys.executable, "-c", successor, str(logdir), daemon.address], check=True, timeout=120
    )
    for number, sw in enumerate(writers):
        sw.add_scalar(f"tag{number}", 1.0, 1)
    for sw in writers:
        result = sw.flush(timeout=60)
        assert not result
        assert "SUPERSEDED" in result.reason
    assert dict(writers[0].statistics().rejected) == {"SUPERSEDED": 2}


def test_a_link_that_became_a_directory_leads_nowhere_else(daemon: DaemonProcess) -> None:
    other = SummaryWriter(daemon.logdir / "other", address=daemon.address)  # keeps the session
    (daemon.logdir / "one").mkdir()
    latest = daemon.logdir / "latest"
    latest.symlink_to("one")
    for step in range(2):
        with SummaryWriter(daemon.logdir, run="latest", address=daemon.address) as sw:
            sw.add_scalar("loss", 1.0, step)
        if step == 0:
            latest.unlink()
            latest.mkdir()
    assert other.close()
    found = [read_scalars(path, "python")["."]["loss"] for path in (daemon.logdir / "one", latest)]
    assert [[point.step for point in points] for points in found] == [[0], [1]]
