"""What is logged: the same calls, on the same values, for every peer.

A workload makes an ``arguments`` function, which prepares the value of one
call outside the timed region, and says which call of a peer takes it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

SEED = 20170
HISTOGRAM_VALUES = 4_000_000
HISTOGRAM_BINS = 1000
IMAGES = (64, 3, 64, 64)
#: Work that waits on MXNet's engine when a histogram is logged.
QUEUED_SECS = 0.37


@dataclass(frozen=True)
class Workload:
    """Some calls, back to back.

    ``method`` is ``scalar``, ``histogram`` or ``image``; ``values(step)`` is
    called before each call, untimed; ``settle`` after each, untimed.
    """

    method: str
    calls: int
    values: Callable[[int], Any]
    settle: Callable[[], None] | None = None


def _normal(count: int) -> list[np.ndarray]:
    generator = np.random.default_rng(SEED)
    return [
        generator.standard_normal(HISTOGRAM_VALUES, dtype=np.float32) * (1 + index)
        for index in range(count)
    ]


def _images(count: int) -> list[np.ndarray]:
    """Smooth colour ramps with a little noise: neither flat nor incompressible."""
    generator = np.random.default_rng(SEED)
    batch, channels, height, width = IMAGES
    ramp = np.linspace(0, 1, height)[:, None] * np.linspace(0, 1, width)[None, :]
    result = []
    for _ in range(count):
        level = generator.random((batch, channels, 1, 1))
        noise = generator.random(IMAGES) * 0.1
        result.append((ramp * level * 0.9 + noise).astype(np.float32))
    return result


def _to_mxnet(arrays: list[np.ndarray]) -> list[Any]:
    import mxnet as mx

    converted = [mx.nd.array(array, dtype="float32") for array in arrays]
    mx.nd.waitall()
    return converted


def _scalars_python() -> Workload:
    numbers = np.random.default_rng(SEED).random(20_000).tolist()
    return Workload("scalar", 20_000, lambda step: numbers[step % len(numbers)])


def _scalars_mxnet() -> Workload:
    import mxnet as mx

    losses = mx.nd.random.uniform(shape=(64,))
    losses.wait_to_read()
    return Workload("scalar", 2_000, lambda step: losses.mean())


def _cycle(method: str, calls: int, values: list[Any]) -> Workload:
    return Workload(method, calls, lambda step: values[step % len(values)])


def _histograms_queued() -> Workload:
    import mxnet as mx

    side = int(HISTOGRAM_VALUES**0.5)
    matrix = mx.nd.random.normal(shape=(side, side))
    factor = mx.nd.random.normal(scale=side**-0.5, shape=(side, side))
    mx.nd.dot(matrix, factor).wait_to_read()
    begin = time.perf_counter()
    mx.nd.dot(matrix, factor).wait_to_read()
    products = max(1, round(QUEUED_SECS / (time.perf_counter() - begin)))

    def values(step: int) -> Any:
        result = matrix
        for _ in range(products):
            result = mx.nd.dot(result, factor)
        return result

    return Workload("histogram", 5, values, mx.nd.waitall)


#: Workloads by name, then by the kind of value that is handed over.
WORKLOADS: dict[str, dict[str, Callable[[], Workload]]] = {
    "scalars": {
        "python": _scalars_python,
        "mxnet": _scalars_mxnet,
    },
    "histograms": {
        "numpy": lambda: _cycle("histogram", 20, _normal(4)),
        "mxnet": lambda: _cycle("histogram", 20, _to_mxnet(_normal(4))),
        "mxnet-queued": _histograms_queued,
    },
    "images": {
        "numpy": lambda: _cycle("image", 10, _images(4)),
        "mxnet": lambda: _cycle("image", 10, _to_mxnet(_images(4))),
    },
}
