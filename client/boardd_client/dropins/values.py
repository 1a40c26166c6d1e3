"""What PyTorch's and tensorboardX's writers take that boardd's own does not."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

#: In the name of a dtype, which each library writes in its own way.
_KIND: Final = re.compile(r"bool|u?int\d+|b?float\d+")


def pixels(images: Any) -> Any:
    """Returns images as the writer takes them.

    A list of images of one shape becomes an array, which waits for their data. Booleans and
    integers other than uint8 become floats, so that 1 is white.
    """
    if isinstance(images, (list, tuple)):
        images = _stacked(images)
    found = _KIND.search(str(getattr(images, "dtype", "")))
    if not found or found[0] == "uint8" or "float" in found[0]:
        return images
    if hasattr(images, "float"):
        return images.float()
    if not hasattr(images, "astype"):
        images = np.asarray(images)
    return images.astype("float32")


def _stacked(images: Sequence[Any]) -> Any:
    # NumPy takes no tensor that requires a gradient, is bfloat16 or lies on a GPU.
    torch = sys.modules.get("torch")
    if torch is not None and images and all(isinstance(image, torch.Tensor) for image in images):
        return torch.stack([image.detach() for image in images])
    return np.stack([np.asarray(image) for image in images])


def default_bins() -> list[float]:
    """The edges that ``bins="tensorflow"`` means (tensorflow/core/lib/histogram/histogram.cc)."""
    edges = []
    edge = 1e-12
    while edge < 1e20:
        edges.append(edge)
        edge *= 1.1
    return [-edge for edge in reversed(edges)] + [0.0] + edges
