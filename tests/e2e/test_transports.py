"""Records reach a daemon on the same host through shared memory, or by value where told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import read_run
from support.transports import check_transport
from support.waiting import wait_until

#: Logs a scalar, tells how, and stays until it is told to end.
SCRIPT = """
import sys
from boardd_client import SummaryWriter
with SummaryWriter(sys.argv[1], address=sys.argv[2]) as sw:
    sw.add_scalar("loss", 1.0, 1)
    assert sw.flush(timeout=60)
    print(sw.statistics().transport, flush=True)
    input()
"""


def test_a_script_shares_memory_unless_told_not_to(transport: str, daemon: DaemonProcess) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(daemon.logdir / "run"), daemon.address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as script:
        assert script.stdout is not None
        assert script.stdout.readline() == f"{transport}\n"
        (session,) = daemon.status().sessions
        assert (session.map_bytes > 0) == (transport == "shared")
        script.communicate("\n", timeout=120)
    assert script.returncode == 0
    assert not daemon.status().sessions


def test_both_lead_to_the_same_events(transport: str, daemon: DaemonProcess) -> None:
    values = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    with SummaryWriter(daemon.logdir / "run", address=daemon.address) as sw:
        for step in range(200):
            sw.add_scalar("loss", step / 4, step)
            if step % 50 == 0:
                sw.add_histogram("values", values + step, step, bins=20)
        assert sw.flush(timeout=60)
        check_transport(transport, sw, daemon)
        statistics = sw.statistics()
        assert (statistics.accepted, statistics.written) == (204, 204)
        # By value, the tensors themselves were sent.
        assert (statistics.sent_bytes > 4 * values.nbytes) == (transport == "by value")
    run = read_run(daemon.logdir / "run")
    assert [point.value for point in run.scalars["loss"]] == [step / 4 for step in range(200)]
    for point in run.histograms["values"]:
        counts, _ = np.histogram((values + point.step).astype(np.float64), bins=20)
        np.testing.assert_array_equal(point.buckets[:, 2], counts)


def test_the_memory_of_a_session_goes_with_it(daemon: DaemonProcess) -> None:
    """At once: what waits for the garbage collector would wait for long in an idle daemon."""

    def maps() -> int:
        return Path(f"/proc/{daemon.pid}/maps").read_text().count("memfd:boardd")

    with SummaryWriter(daemon.logdir / "run", address=daemon.address) as sw:
        sw.add_histogram("values", np.zeros(100_000), 0)
        assert sw.flush(timeout=60)
        assert maps() == 1
    wait_until(lambda: maps() == 0, "no map is left", 3)
