"""What is logged: the same calls, on the same values, for every peer.

A workload makes a ``values`` function, which prepares the value of one call
outside the timed region, and says which call of a peer takes it.
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
EMBEDDING = (2304, 1000)
CLASSES = 10
#: Work that waits on MXNet's engine when a histogram is logged.
QUEUED_SECS = 0.37
#: Names of the scalars of one call: this and two digits.
NAME_PREFIX = "metric_"
SET_SIZE = 100


@dataclass(frozen=True)
class Workload:
    """Calls of one ``method`` of a peer.

    ``values(step)`` makes the argument of each call and ``settle``, if any, waits
    after each; both are untimed. First come ``warm_up_calls``, unmeasured, then
    ``spaced_calls`` with ``pause_secs`` after each, as between the steps of a
    training, then ``back_to_back_calls`` with nothing between them, so that
    queues fill. A call logs ``size`` values; costs are given for one of them.
    """

    method: str
    values: Callable[[int], Any]
    warm_up_calls: int
    spaced_calls: int = 0
    back_to_back_calls: int = 0
    size: int = 1
    pause_secs: float = 0.0
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


def _embeddings(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Clusters around one centre for each class, and the class of each row as its label."""
    generator = np.random.default_rng(SEED)
    rows, columns = EMBEDDING
    result = []
    for _ in range(count):
        classes = generator.integers(CLASSES, size=rows, dtype=np.int32)
        centres = generator.standard_normal((CLASSES, columns), dtype=np.float32)
        noise = generator.standard_normal(EMBEDDING, dtype=np.float32)
        result.append((centres[classes] + 0.5 * noise, classes))
    return result


def _to_mxnet(value: Any) -> Any:
    """The same as NDArrays of the same types."""
    import mxnet as mx

    if isinstance(value, np.ndarray):
        return mx.nd.array(value, dtype=value.dtype)
    converted = type(value)(_to_mxnet(item) for item in value)
    mx.nd.waitall()
    return converted


def _cycled(items: list[Any]) -> Callable[[int], Any]:
    return lambda step: items[step % len(items)]


def _scalars_python() -> Workload:
    numbers = np.random.default_rng(SEED).random(20_000).tolist()
    return Workload("scalar", _cycled(numbers), 1000, back_to_back_calls=20_000)


def _scalars_mxnet() -> Workload:
    import mxnet as mx

    losses = mx.nd.random.uniform(shape=(64,))
    losses.wait_to_read()
    return Workload("scalar", lambda step: losses.mean(), 200, back_to_back_calls=2_000)


def _scalar_sets() -> Workload:
    names = [f"{NAME_PREFIX}{index:02}" for index in range(SET_SIZE)]
    numbers = np.random.default_rng(SEED).random((20, SET_SIZE)).tolist()
    sets = [dict(zip(names, row, strict=True)) for row in numbers]
    return Workload("scalars", _cycled(sets), 20, back_to_back_calls=200, size=SET_SIZE)


def _histograms(values: list[Any]) -> Workload:
    return Workload("histogram", _cycled(values), 3, 20, 20, pause_secs=0.06)


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

    return Workload("histogram", values, 1, 5, settle=mx.nd.waitall)


def _image_batches(values: list[Any]) -> Workload:
    return Workload("image", _cycled(values), 2, 6, 6, pause_secs=0.06)


def _embedding(values: list[Any]) -> Workload:
    return Workload("embedding", _cycled(values), 1, 3, pause_secs=0.5)


#: Workloads by name, then by the kind of value that is handed over.
WORKLOADS: dict[str, dict[str, Callable[[], Workload]]] = {
    "scalars": {"python": _scalars_python, "mxnet": _scalars_mxnet},
    "scalar-sets": {"python": _scalar_sets},
    "histograms": {
        "numpy": lambda: _histograms(_normal(4)),
        "mxnet": lambda: _histograms(_to_mxnet(_normal(4))),
        "mxnet-queued": _histograms_queued,
    },
    "images": {
        "numpy": lambda: _image_batches(_images(4)),
        "mxnet": lambda: _image_batches(_to_mxnet(_images(4))),
    },
    "embeddings": {
        "numpy": lambda: _embedding(_embeddings(3)),
        "mxnet": lambda: _embedding(_to_mxnet(_embeddings(3))),
    },
}
