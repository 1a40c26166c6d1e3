"""Processors, memory, disks and network of this host."""

from __future__ import annotations

from typing import Final

import psutil

from boardd.system.rates import Rates

GIBIBYTE: Final = float(1 << 30)
MEBIBYTE: Final = float(1 << 20)
_ROOT: Final = "/"


class Machine:
    """This host as a whole. For one thread at a time."""

    def __init__(self) -> None:
        self._rates = Rates()

    def measure(self, now: float) -> dict[str, float]:
        """Returns what is used at ``now``, in seconds that never go back, by name and unit.

        What is a share of time or a rate covers the time since the last call; the first has
        none.
        """
        memory = psutil.virtual_memory()
        found = {
            "host/memory_percent": memory.percent,
            "host/memory_gib": (memory.total - memory.available) / GIBIBYTE,
            "host/disk_percent": psutil.disk_usage(_ROOT).percent,
        }
        rates = self._rates.take(_counters(), now)
        busy, idle = rates.pop("cpu_busy", None), rates.pop("cpu_idle", None)
        if busy is not None and idle is not None and busy + idle > 0:
            found["host/cpu_percent"] = 100.0 * (busy / (busy + idle))  # never above 100
        return found | rates


def _counters() -> dict[str, float]:
    cpu = psutil.cpu_times()
    idle = cpu.idle + getattr(cpu, "iowait", 0.0)
    # The times of guests are in those of users as well.
    guests = getattr(cpu, "guest", 0.0) + getattr(cpu, "guest_nice", 0.0)
    counters = {"cpu_busy": sum(cpu) - guests - idle, "cpu_idle": idle}
    disks = psutil.disk_io_counters()
    if disks is not None:
        counters["host/disk_read_mib_per_sec"] = disks.read_bytes / MEBIBYTE
        counters["host/disk_written_mib_per_sec"] = disks.write_bytes / MEBIBYTE
    network = psutil.net_io_counters()
    if network is not None:
        counters["host/network_sent_mib_per_sec"] = network.bytes_sent / MEBIBYTE
        counters["host/network_received_mib_per_sec"] = network.bytes_recv / MEBIBYTE
    return counters
