"""What a training step costs while the daemon is stopped, killed, or has no room on its disk.

    python benchmarks/stopped_daemon.py [--quick] [--secs SECS]

A perceptron is trained on digits with MXNet; every step logs its loss, every
hundredth the histograms of all gradients. For each fault: undisturbed, then
the fault for ``--secs`` seconds, then recovery. Afterwards the event files are
read: everything that was accepted must be there, in order, once. Prints
Markdown; a whole run writes it to benchmarks/README.md, and every figure to
benchmarks/results/stopped_daemon.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from array import array
from pathlib import Path
from typing import Any

import numpy as np
from boardd_client import SummaryWriter
from comparison.report import duration
from sustained import digits, machine, publish
from sustained.daemon import Daemon
from sustained.event_steps import repeated, steps_by_tag
from sustained.faults import FAULTS, Fault, ImpossibleError
from sustained.nets import SYNC_STEPS, Loop

LOSS = "loss"
BINS = 1000
HISTOGRAM_STEPS = 100
WARM_UP_STEPS = 500
CLOSE_SECS = 120.0
PHASES = ("undisturbed", "fault", "recovery")


class Training:
    """A loop that logs, and the time of its steps."""

    def __init__(self, loop: Loop, writer: SummaryWriter) -> None:
        self._loop = loop
        self._writer = writer
        self.steps = 0
        self.histograms = 0

    def run(self, secs: float, least_steps: int = 0) -> dict[str, Any]:
        """Trains for ``secs``; returns what a step took and what was dropped meanwhile.

        A step is taken with its log calls. ``step_secs`` is that of ``SYNC_STEPS``
        steps together, from one read of the loss to the next: single steps only
        fill MXNet's queue. ``call_secs`` is the time of a step's log calls.
        """
        clock = time.perf_counter
        dropped, histograms = self.dropped(), self.histograms
        stretches, calls = array("d"), array("d")
        begin = now = last = clock()
        made = 0
        while now - begin < secs or made < least_steps:
            loss = self._loop.step()
            before = clock()
            self._log(loss)
            now = clock()
            calls.append(now - before)
            made += 1
            if made % SYNC_STEPS == 0:
                stretches.append((now - last) / SYNC_STEPS)
                last = now
        counts = self._writer.statistics()
        return {
            "steps": made,
            "step_secs": _distribution(stretches),
            "call_secs": _distribution(calls),
            "logged": made + self.histograms - histograms,
            "dropped": {
                reason: count - dropped.get(reason, 0)
                for reason, count in self.dropped().items()
                if count > dropped.get(reason, 0)
            },
            "pending": counts.pending,
        }

    def dropped(self) -> dict[str, int]:
        """Records dropped so far, by reason."""
        return dict(self._writer.statistics().dropped)

    def _log(self, loss: Any) -> None:
        self._writer.add_scalar(LOSS, loss, self.steps)
        if self.steps % HISTOGRAM_STEPS == 0:
            for name, gradient in self._loop.gradients.items():
                self._writer.add_histogram(f"gradients/{name}", gradient, self.steps, bins=BINS)
                self.histograms += 1
        self.steps += 1


def _distribution(seconds: array[float]) -> dict[str, float]:
    values = np.frombuffer(seconds)
    return {
        "median": float(np.median(values)),
        "p99": float(np.quantile(values, 0.99)),
        "max": float(values.max()),
        "mean": float(values.mean()),
    }


def measure(fault: Fault, loop: Loop, secs: float, calm_secs: float) -> dict[str, Any]:
    """Trains before, during and after a fault, and checks what arrived.

    Raises ``ImpossibleError`` when the fault cannot be made here, ``RuntimeError``
    when a record that was accepted is missing or not counted, and ``ValueError``
    when one is out of order.
    """
    with (
        tempfile.TemporaryDirectory(prefix="boardd-stopped-") as name,
        fault.disk(Path(name)) as disk,
        Daemon(disk) as daemon,
    ):
        writer = SummaryWriter(str(disk / "run"), address=daemon.address, verbose=False)
        training = Training(loop, writer)
        training.run(0.0, WARM_UP_STEPS)
        phases = {"undisturbed": training.run(calm_secs)}
        with fault.happens(daemon, disk):
            phases["fault"] = training.run(secs)
        begun = time.monotonic()
        phases["recovery"] = training.run(calm_secs)
        loop.wait()
        result = writer.close(CLOSE_SECS)
        counts = writer.statistics()
        closed_secs = time.monotonic() - begun
        logged = training.steps + training.histograms
        dropped = sum(counts.dropped.values())
        # The daemon's own series, which say what was dropped, do not count.
        steps = {
            tag: found
            for tag, found in steps_by_tag(disk / "run").items()
            if not tag.startswith("boardd/")
        }
    repeats = sum(map(repeated, steps.values()))
    found = sum(map(len, steps.values())) - repeats
    balanced = (
        result
        and not counts.pending
        and not counts.rejected
        and logged == counts.accepted + dropped
        and counts.accepted == counts.written == found
        and (fault.may_repeat or not repeats)
    )
    if not balanced:
        raise RuntimeError(
            f"{fault.title}: logged {logged}, found {found}, twice {repeats}; {result}, {counts}"
        )
    return {
        "phases": phases,
        "logged": logged,
        "dropped": dict(counts.dropped),
        "found": found,
        "repeats": repeats,
        "recovery_and_close_secs": closed_secs,
    }


def markdown(results: dict[str, dict[str, Any]]) -> str:
    """One line for each fault and phase."""
    head = ["", "step: median", "p99", "max", "a step's log calls: p99", "max", "dropped"]
    rows = []
    for name, result in results.items():
        title = FAULTS[name].title
        for phase in PHASES:
            found = result["phases"][phase]
            label = title if phase == "fault" else phase
            cells = [found["step_secs"][key] for key in ("median", "p99", "max")]
            cells += [found["call_secs"][key] for key in ("p99", "max")]
            lost = sum(found["dropped"].values())
            rows.append(
                [
                    f"**{label}**" if phase == "fault" else label,
                    *(duration(secs * 1e9) for secs in cells),
                    f"{lost:,} of {found['logged']:,}" if lost else "nothing",
                ]
            )
    return publish.table(head, rows)


def repeats_sentence(results: dict[str, dict[str, Any]]) -> list[str]:
    """A sentence on what was written twice, or nothing."""
    return [
        f"{FAULTS[name].title[0].upper()}{FAULTS[name].title[1:]}: {result['repeats']:,} records, "
        "written but not yet acknowledged when it was killed, are in the files twice."
        for name, result in results.items()
        if result["repeats"]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="3 s of each; writes nothing")
    parser.add_argument("--secs", type=float, default=60.0, help="how long a fault lasts")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    arguments = parser.parse_args()
    secs = 3.0 if arguments.quick else arguments.secs
    calm_secs = min(secs, 20.0)

    # If the client started a daemon in place of a killed one, that fault would end early.
    os.environ["BOARDD_AUTOSTART"] = "0"
    about = machine.describe()
    loop = Loop("mlp", digits.bundled())
    results: dict[str, dict[str, Any]] = {}
    skipped = []
    for name in arguments.faults:
        try:
            results[name] = measure(FAULTS[name], loop, secs, calm_secs)
        except ImpossibleError as error:
            skipped.append(f"Left out: {FAULTS[name].title}, because {error}.")
        else:
            print(f"{name}: everything accepted arrived, in order", file=sys.stderr)
    text = "\n\n".join(
        [
            f"Each fault for {secs:g} s; {machine.sentence(about)}",
            markdown(results),
            *repeats_sentence(results),
            *skipped,
        ]
    )
    if not arguments.quick and arguments.faults == list(FAULTS):
        document = {"machine": about, "secs": secs, "faults": results, "skipped": skipped}
        publish.publish("stopped_daemon", document, text)
    print(text)


if __name__ == "__main__":
    main()
