"""NVIDIA's GPUs, by the driver's own library."""

from __future__ import annotations

import contextlib
from typing import Any, Final

import pynvml

from boardd.system.machine import GIBIBYTE

#: GPUs that are measured; a host has 16 at most.
_MAX_GPUS: Final = 16


class Gpus:
    """The GPUs of this host; none without NVIDIA's driver. For one thread at a time.

    Asks the driver and runs nothing on a device.
    """

    def __init__(self) -> None:
        self._handles: list[Any] = []
        with contextlib.suppress(pynvml.NVMLError):
            pynvml.nvmlInit()
            count = min(pynvml.nvmlDeviceGetCount(), _MAX_GPUS)
            self._handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]

    def measure(self) -> dict[str, float]:
        """Returns what each GPU uses, by name and unit; what it cannot tell is left out."""
        found: dict[str, float] = {}
        for index, handle in enumerate(self._handles):
            for name, value in _measured(handle).items():
                found[f"gpu_{index}/{name}"] = value
        return found


def _measured(handle: Any) -> dict[str, float]:
    values: dict[str, float] = {}
    # Each by itself: which of them a GPU tells depends on its model.
    with contextlib.suppress(pynvml.NVMLError):
        values["utilization_percent"] = float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    with contextlib.suppress(pynvml.NVMLError):
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        values["memory_gib"] = memory.used / GIBIBYTE
        values["memory_percent"] = 100.0 * (memory.used / memory.total)
    with contextlib.suppress(pynvml.NVMLError):
        values["power_watts"] = pynvml.nvmlDeviceGetPowerUsage(handle) / 1000.0
    with contextlib.suppress(pynvml.NVMLError):
        celsius = pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
        values["temperature_celsius"] = float(celsius)
    return values
