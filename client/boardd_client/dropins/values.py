"""What PyTorch's and tensorboardX's writers take that boardd's own does not."""

from __future__ import annotations

from typing import Any

import numpy as np


def pixels(images: Any) -> Any:
    """Returns images as the writer takes them.

    A list of images of one shape becomes an array, which waits for their data. Booleans and
    integers other than uint8 become floats, so that 1 is white.
    """
    if isinstance(images, (list, tuple)):
        images = np.stack([np.asarray(image) for image in images])
    kind = str(getattr(images, "dtype", "")).rpartition(".")[2]
    if kind == "uint8" or not kind.startswith(("bool", "int", "uint")):
        return images
    if isinstance(images, np.ndarray):
        return images.astype(np.float32)
    return images.float() if hasattr(images, "float") else images.astype("float32")


def default_bins() -> list[float]:
    """The edges that ``bins="tensorflow"`` means (tensorflow/core/lib/histogram/histogram.cc)."""
    edges = []
    edge = 1e-12
    while edge < 1e20:
        edges.append(edge)
        edge *= 1.1
    return [-edge for edge in reversed(edges)] + [0.0] + edges
