"""Directories and files that become links, FIFOs and others while the daemon writes there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from boardd_client import SummaryWriter
from boardd_client.transport.senders import senders
from support.daemon_process import DaemonProcess
from support.swaps import Swapper, digest
from support.tensorboard_reader import read_run
from support.torture_scale import long_or
from support.waiting import wait_until

CURVES = 30


@pytest.fixture(autouse=True)
def no_records_outlive_the_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Gives up what was never written, which writers keep trying to send."""
    monkeypatch.setenv("BOARDD_EXIT_TIMEOUT_SECS", "0")
    yield
    senders.drain()


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A tree that looks like one of runs, and is beneath no root."""
    path = tmp_path / "outside"
    for run in ("", "run0", "run1", "embedding"):
        (path / run).mkdir(exist_ok=True)
        (path / run / "projector_config.pbtxt").write_text("embeddings { tensor_name: 'mine' }\n")
        # Not tensors.bytes, which the attack itself would reach through its own link.
        (path / run / "metadata.tsv").write_bytes(b"mine")
    return path


class Attack:
    """Pairs of names in ``root`` of which the second leads to ``outside`` or is no file."""

    def __init__(self, root: Path, outside: Path) -> None:
        self._root = root
        self._outside = outside
        self._aside = root / ".aside"
        self._aside.mkdir()
        for name in ("a", "b", "c", "d"):
            (root / name).mkdir()
        self._always = [(root / "a", self._link("a", outside)), (root / "d", self._fifo("d"))]

    def pairs(self, number: int) -> list[tuple[Path, Path]]:
        """Those of the runs with this number."""
        run = self._root / "c" / f"run{number}"
        return [
            *self._always,
            (self._root / "b" / f"run{number}", self._link(f"b{number}", self._outside)),
            (run / "embedding", self._link(f"c{number}", self._outside / "embedding")),
            (
                run / "projector_config.pbtxt",
                self._link(f"config{number}", self._outside / "projector_config.pbtxt"),
            ),
            (run / "embedding" / "tensors.bytes", self._fifo(f"tensors{number}")),
        ]

    def _link(self, name: str, target: Path) -> Path:
        path = self._aside / f"link {name}"
        path.symlink_to(target)
        return path

    def _fifo(self, name: str) -> Path:
        path = self._aside / f"fifo {name}"
        os.mkfifo(path)
        return path


@pytest.mark.slow
@pytest.mark.parametrize(("swaps", "rounds"), [long_or((3_000, 2), (100_000, 20))])
def test_nothing_outside_the_roots_changes_while_names_are_swapped(
    swaps: int, rounds: int, outside: Path, tmp_path: Path
) -> None:
    before = digest(outside)
    written = refused = 0
    with DaemonProcess(tmp_path, "--listen", "127.0.0.1:0") as daemon:
        attack = Attack(daemon.logdir, outside)
        with Swapper(*attack.pairs(0)) as swapper:
            for number in range(rounds):
                swapper.pairs = attack.pairs(number) if number else swapper.pairs
                # Over TCP: a local client would look at the directory itself.
                writers = [
                    SummaryWriter(f"{parent}/run{number}", address=daemon.tcp_address)
                    for parent in ("a", "b", "c", "d")
                ]
                for step in range(3):
                    for sw in writers:
                        # Each curve has a directory of its own.
                        sw.add_scalars("plot", dict.fromkeys(map(str, range(CURVES)), 1.0), step)
                        sw.add_histogram("h", np.arange(10.0), step, bins=2)
                        sw.add_embedding("embedding", np.eye(4, dtype=np.float32))
                    for sw in writers:
                        result = sw.flush(timeout=1.0)
                        written += bool(result)
                        refused += not result
                for sw in writers:
                    sw.close(timeout=0)
            wait_until(lambda: swapper.swaps >= swaps, "the swaps")
        with SummaryWriter("quiet", address=daemon.tcp_address) as sw:
            sw.add_scalar("loss", 1.0, 1)
            assert sw.flush(timeout=30.0), "a name that was swapped keeps a thread"
        assert read_run(daemon.logdir / "quiet").scalars["loss"]
    assert written, "the attack refused everything"
    assert refused, "the attack had no effect"
    assert digest(outside) == before
