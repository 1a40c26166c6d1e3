"""A real training loop while its daemon is stopped, killed, or has no room on its disk.

The loop goes on; afterwards everything that was accepted is in the event files, in order, and
what was not is counted.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from boardd_client import SummaryWriter
from support import processes
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import read_events
from support.tools import tmpfs
from support.waiting import wait_until

mx = pytest.importorskip("mxnet", reason="MXNet is not installed")

pytestmark = [
    pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning"),
    pytest.mark.usefixtures("transport"),
]

BATCH = 64
HISTOGRAM_STEPS = 10
BINS = 20
#: So long a step may take at most; a call that waits for the daemon takes for ever.
STUCK_SECS = 60.0
FLUSH_SECS = 60.0

#: A number known when it is logged, and one that MXNet is still computing.
STEP, LOSS = "step", "loss"


class Training:
    """A perceptron that learns scikit-learn's digits, and logs as it does."""

    def __init__(self) -> None:
        from mxnet import gluon
        from sklearn.datasets import load_digits

        mx.random.seed(0)
        images, labels = load_digits(return_X_y=True)
        self._batches = [
            (
                mx.nd.array(images[first : first + BATCH] / 16),
                mx.nd.array(labels[first : first + BATCH]),
            )
            for first in range(0, len(labels) - BATCH + 1, BATCH)
        ]
        self._net = gluon.nn.HybridSequential(prefix="net_")
        with self._net.name_scope():
            self._net.add(gluon.nn.Dense(32, activation="relu"), gluon.nn.Dense(10))
        self._net.initialize(mx.init.Xavier())
        self._net.hybridize()
        self._cross_entropy = gluon.loss.SoftmaxCrossEntropyLoss()
        self._parameters = self._net.collect_params()
        self._trainer = gluon.Trainer(self._parameters, "sgd", {"learning_rate": 0.1})
        self.steps = 0
        self.logged: Counter[str] = Counter()  #: calls by tag

    def train(self, writer: SummaryWriter, steps: int) -> None:
        """Makes ``steps`` steps."""
        for _ in range(steps):
            images, labels = self._batches[self.steps % len(self._batches)]
            with mx.autograd.record():
                loss = self._cross_entropy(self._net(images), labels)
            loss.backward()
            self._trainer.step(BATCH)
            self._log(writer, STEP, writer.add_scalar, float(self.steps))
            self._log(writer, LOSS, writer.add_scalar, loss.mean())
            if self.steps % HISTOGRAM_STEPS == 0:
                for name, parameter in self._parameters.items():
                    self._log(writer, name, writer.add_histogram, parameter.grad(), bins=BINS)
            self.steps += 1
        mx.nd.waitall()

    def _log(
        self, writer: SummaryWriter, tag: str, call: Callable[..., None], value: Any, **options: Any
    ) -> None:
        call(tag, value, self.steps, **options)
        self.logged[tag] += 1


class Thread:
    """Trains on a thread of its own, so that a test fails where a call never returns."""

    def __init__(self, executor: ThreadPoolExecutor) -> None:
        self._executor = executor
        self.training = executor.submit(Training).result(STUCK_SECS)

    def train(self, writer: SummaryWriter, steps: int) -> None:
        """Makes ``steps`` steps."""
        self._executor.submit(self.training.train, writer, steps).result(STUCK_SECS)


@pytest.fixture
def loop() -> Iterator[Thread]:
    with ThreadPoolExecutor(1) as executor:
        yield Thread(executor)


def check(writer: SummaryWriter, loop: Thread, run: Path, *, may_repeat: bool = False) -> None:
    """Closes the writer and compares the calls, the counts and the event files."""
    result = writer.close(FLUSH_SECS)
    assert result, result
    counts = writer.statistics()
    logged = loop.training.logged
    assert (counts.pending, dict(counts.rejected)) == (0, {})
    assert counts.accepted == counts.written
    assert counts.accepted + sum(counts.dropped.values()) == logged.total()

    found: dict[str, list[int]] = {tag: [] for tag in logged}
    for event in read_events(run):
        for value in event.summary.value:
            if value.tag in found:
                steps = found[value.tag]
                # What a killed daemon had written and not acknowledged, the next writes again.
                if may_repeat and event.step in steps:
                    continue
                steps.append(event.step)
                if value.tag == STEP:
                    assert value.simple_value == event.step
    for tag, steps in found.items():
        assert steps == sorted(set(steps)), f"{tag} is not in order, once each"
    assert sum(map(len, found.values())) == counts.written
    if not counts.dropped:
        assert {tag: len(steps) for tag, steps in found.items()} == logged


def test_training_goes_on_while_the_daemon_is_stopped(
    daemon: DaemonProcess, tmp_path: Path, loop: Thread
) -> None:
    writer = SummaryWriter(str(tmp_path / "logs" / "run"), address=daemon.address)
    loop.train(writer, 30)
    assert writer.flush(FLUSH_SECS)
    before = writer.statistics().written
    with daemon.stop_cont():
        loop.train(writer, 200)
        assert not writer.flush(0.1)
        assert writer.statistics().written == before
    loop.train(writer, 30)
    assert not writer.statistics().dropped
    check(writer, loop, tmp_path / "logs" / "run")


def test_beyond_its_budget_the_client_drops_and_counts(
    daemon: DaemonProcess, tmp_path: Path, loop: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_LOG_BYTES", str(64 << 10))
    monkeypatch.setenv("BOARDD_ARENA_BYTES", str(256 << 10))
    writer = SummaryWriter(str(tmp_path / "logs" / "run"), address=daemon.address)
    loop.train(writer, 30)
    assert writer.flush(FLUSH_SECS)
    assert not writer.statistics().dropped
    with daemon.stop_cont():
        loop.train(writer, 1500)
        assert sum(writer.statistics().dropped.values()) > 0
    assert writer.flush(FLUSH_SECS)
    dropped = dict(writer.statistics().dropped)
    # There is room again.
    loop.train(writer, 30)
    assert dict(writer.statistics().dropped) == dropped
    check(writer, loop, tmp_path / "logs" / "run")


@pytest.mark.slow
def test_training_goes_on_while_there_is_no_daemon(
    tmp_path: Path, runtime_directory: Path, loop: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_AUTOSTART", "0")
    socket = runtime_directory / "s"
    with DaemonProcess(tmp_path, socket=socket) as first:
        writer = SummaryWriter(str(tmp_path / "logs" / "run"), address=first.address)
        loop.train(writer, 30)
        assert writer.flush(FLUSH_SECS)
        loop.train(writer, 30)
        first.kill()  # in the middle of what it writes
    loop.train(writer, 200)
    with DaemonProcess(tmp_path, socket=socket):
        loop.train(writer, 30)
        assert not writer.statistics().dropped
        check(writer, loop, tmp_path / "logs" / "run", may_repeat=True)


@pytest.mark.slow
def test_training_goes_on_while_the_client_starts_the_next_daemon(
    tmp_path: Path, runtime_directory: Path, loop: Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_LOGDIR_ROOT", str(tmp_path))

    def pids() -> set[int]:
        found = processes.daemons("XDG_RUNTIME_DIR", {str(runtime_directory)})
        return {process.pid for process in found}

    writer = SummaryWriter(str(tmp_path / "run"))
    loop.train(writer, 30)
    assert writer.flush(FLUSH_SECS)
    (first,) = pids()
    loop.train(writer, 30)
    os.kill(first, signal.SIGKILL)

    def is_replaced() -> bool:
        loop.train(writer, 10)
        return bool(pids() - {first})

    wait_until(is_replaced, "another daemon")
    loop.train(writer, 30)
    assert not writer.statistics().dropped
    check(writer, loop, tmp_path / "run", may_repeat=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "logs" / "small", "size=2m") as directory:
        yield directory


def test_training_goes_on_while_the_disk_is_full(
    small_disk: Path, tmp_path: Path, loop: Thread
) -> None:
    with DaemonProcess(tmp_path) as daemon:
        writer = SummaryWriter(str(small_disk / "run"), address=daemon.address)
        loop.train(writer, 30)
        assert writer.flush(FLUSH_SECS)
        ballast = small_disk / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass

        def is_full() -> bool:
            loop.train(writer, 20)
            return any("No space" in run.trouble for run in daemon.status().runs)

        wait_until(is_full, "a full disk")
        loop.train(writer, 100)
        assert not writer.flush(0.1)
        ballast.unlink()
        loop.train(writer, 30)
        assert not writer.statistics().dropped
        check(writer, loop, small_disk / "run")
