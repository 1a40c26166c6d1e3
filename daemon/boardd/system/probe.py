"""All that is measured of this machine, at one moment."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from boardd.system.gpus import Gpus
from boardd.system.machine import Machine
from boardd.system.processes import Processes


@dataclass(frozen=True)
class Measurement:
    """What ``host`` uses, its GPUs included, and what each of ``processes`` does, by number."""

    host: Mapping[str, float]
    processes: Mapping[int, Mapping[str, float]]


class Probe:
    """Measures this host. For one thread at a time, which may wait for drivers."""

    def __init__(self) -> None:
        self._machine = Machine()
        self._gpus = Gpus()
        self._processes = Processes()

    def measure(self, pids: Iterable[int]) -> Measurement:
        """Measures the host and the processes ``pids``; those that have ended are left out."""
        now = time.monotonic()
        host = self._machine.measure(now) | self._gpus.measure()
        return Measurement(host, self._processes.measure(pids, now))
