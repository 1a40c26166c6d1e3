"""Ranks on two hosts, one logdir: the link between them is slow, and is cut."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from support import steady_rank
from support.daemon_process import DaemonProcess
from support.network_hosts import NEAR, Hosts, two_hosts
from support.tensorboard_reader import read_events
from support.tools import self_signed_certificate
from support.waiting import wait_until

TOKEN = "correct-horse-battery-staple"
RANKS = 4
WAIT_SECS = 60.0
#: Of one call that logs a scalar and a tensor of 2 kB, on a machine that others use as well. One
#: that waited for the link would take as long as the cut, some seconds.
LONGEST_CALL_SECS = 1.0
#: No point waits longer for a rank, where the cut is to outlast that.
LAG_SECS = 1.0


@dataclass
class Scene:
    """Two ranks beside the daemon that merges, and two on a host that forwards to it."""

    hosts: Hosts
    aggregator: DaemonProcess
    forwarder: DaemonProcess
    ranks: list[subprocess.Popen[str]]
    end: Path

    def finish(self) -> list[dict[str, float]]:
        """Lets the ranks end; returns what each tells of itself."""
        self.end.touch()
        told = []
        for rank in self.ranks:
            out, _ = rank.communicate(timeout=WAIT_SECS)
            told.append(json.loads(out.splitlines()[-1]))
            assert rank.returncode == 0
        return told

    @property
    def run(self) -> Path:
        return self.aggregator.logdir / "run"


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Hosts]:
    with two_hosts(tmp_path) as made:
        yield made


@pytest.fixture
def scene(hosts: Hosts, tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    with ExitStack() as stack:

        def begin(*flags: str, steps: int = 0) -> Scene:
            token = tmp_path / "token"
            token.write_text(TOKEN)
            token.chmod(0o600)
            certificate, key = self_signed_certificate(tmp_path, NEAR)
            for name in ("near", "far"):
                (tmp_path / name).mkdir()
            aggregator = stack.enter_context(
                DaemonProcess(
                    tmp_path / "near",
                    *("--listen", f"{NEAR}:0", "--token-file", str(token)),
                    *("--tls-cert", str(certificate), "--tls-key", str(key), *flags),
                    python=hosts.python(hosts.near),
                )
            )
            forwarder = stack.enter_context(
                DaemonProcess(
                    tmp_path / "far",
                    *("--forward-to", aggregator.tcp_address),
                    *("--forward-token-file", str(token), "--forward-ca", str(certificate)),
                    python=hosts.python(hosts.far),
                )
            )
            end = tmp_path / "end"
            ranks = []
            for rank in range(RANKS):
                daemon, host = (
                    (aggregator, hosts.near) if rank < RANKS // 2 else (forwarder, hosts.far)
                )
                arguments = [str(daemon.logdir / "run"), str(rank), str(end), str(steps)]
                process = subprocess.Popen(
                    [str(hosts.python(host)), steady_rank.__file__, *arguments],
                    stdout=subprocess.PIPE,
                    text=True,
                    env={
                        **os.environ,
                        "PYTHONPATH": str(Path(steady_rank.__file__).parents[1]),
                        "BOARDD_ADDRESS": daemon.address,
                        "BOARDD_RANK": str(rank),
                        "BOARDD_WORLD_SIZE": str(RANKS),
                        "BOARDD_LAUNCH": "launch",
                    },
                )
                stack.enter_context(process)
                stack.callback(process.kill)
                ranks.append(process)
            return Scene(hosts, aggregator, forwarder, ranks, end)

        yield begin


def scalars(directory: Path, tag: str) -> list[tuple[int, float]]:
    return [
        (event.step, value.tensor.float_val[0] if value.HasField("tensor") else value.simple_value)
        for event in read_events(directory)
        for value in event.summary.value
        if value.tag == tag
    ]


def histograms(directory: Path) -> list[tuple[int, list[float]]]:
    return [
        (event.step, list(value.histo.bucket))
        for event in read_events(directory)
        for value in event.summary.value
        if value.tag == "weights"
    ]


def merged_loss(step: int, ranks: Iterable[int]) -> float:
    """The mean as a file of events has it."""
    values = [steady_rank.loss(rank, step) for rank in ranks]
    return float(np.float32(math.fsum(values) / len(values)))


def behind(scene: Scene) -> str:
    return " ".join(run.forwarding for run in scene.forwarder.status().runs)


def check_training(told: list[dict[str, float]]) -> None:
    """No record is lost, and no call took long."""
    for one in told:
        assert one["closed"]
        assert one["accepted"] == one["written"]
        assert one["longest_secs"] < LONGEST_CALL_SECS


def check_ranks(scene: Scene, told: list[dict[str, float]]) -> None:
    """Each rank's own series has every step once, in order."""
    for rank, one in enumerate(told):
        expected = [
            (step, float(np.float32(steady_rank.loss(rank, step))))
            for step in range(int(one["steps"]))
        ]
        assert scalars(scene.run / f"rank_{rank}", "loss") == expected


def late_of(scene: Scene) -> float:
    """What the last point says of what came late."""
    return max((value for _, value in scalars(scene.run, "boardd/group/late")), default=0.0)


def wait_for_all(scene: Scene) -> None:
    scene.forwarder.wait_closed(WAIT_SECS)
    scene.aggregator.wait_closed(WAIT_SECS)


@pytest.mark.slow
def test_a_cut_and_a_slow_link_lose_nothing_while_points_wait(
    scene: Callable[..., Scene],
) -> None:
    # Ranks go on meanwhile, as many steps as the cut lasts.
    begun = scene("--lag-points", "1000000", steps=40)
    wait_until((begun.run / "rank_3").is_dir, "the far host is heard of", WAIT_SECS)
    begun.hosts.slow(400_000)
    begun.hosts.cut()
    begun.forwarder.wait_log("held up", WAIT_SECS)
    assert "entries behind" in behind(begun)
    begun.hosts.mend()
    told = begun.finish()
    wait_for_all(begun)
    check_training(told)
    check_ranks(begun, told)
    steps = max(int(one["steps"]) for one in told)
    common = min(int(one["steps"]) for one in told)
    merged = scalars(begun.run, "loss")
    assert [step for step, _ in merged] == list(range(steps))
    assert merged[:common] == [(step, merged_loss(step, range(RANKS))) for step in range(common)]
    counted = histograms(begun.run)
    assert [step for step, _ in counted] == list(range(0, steps, steady_rank.HISTOGRAM_EVERY))
    for step, buckets in counted:
        if step < common:
            values = np.concatenate([steady_rank.weights(rank, step) for rank in range(RANKS)])
            counts, _ = np.histogram(values, bins=steady_rank.EDGES)
            assert buckets == counts.tolist()


@pytest.mark.slow
def test_a_cut_longer_than_points_wait_costs_coverage_only(scene: Callable[..., Scene]) -> None:
    begun = scene("--lag-secs", str(LAG_SECS), steps=40)
    wait_until((begun.run / "rank_3").is_dir, "the far host is heard of", WAIT_SECS)
    begun.hosts.cut()
    reached = len(scalars(begun.run / "rank_3", "loss"))
    wait_until(
        lambda: len(scalars(begun.run, "loss")) > reached + 100, "points are closed", WAIT_SECS
    )
    begun.hosts.mend()
    # Points that close from now on tell what came too late.
    wait_until(lambda: late_of(begun) > 0, "what came late is told", WAIT_SECS)
    told = begun.finish()
    wait_for_all(begun)
    check_training(told)
    check_ranks(begun, told)
    merged = scalars(begun.run, "loss")
    assert [step for step, _ in merged] == list(range(max(int(one["steps"]) for one in told)))
    common = min(int(one["steps"]) for one in told)
    missing = 0
    some = [subset for count in (1, 2, 3, 4) for subset in combinations(range(RANKS), count)]
    for step, value in merged[:common]:
        contributed = {merged_loss(step, subset): subset for subset in some}[value]
        missing += RANKS - len(contributed)
    assert missing > 0
