"""What a tag shows in TensorBoard.

Here, and free of protobuf, so that rooms that import nothing of each other name the same kinds.
"""

from __future__ import annotations

from enum import Enum


class SummaryKind(Enum):
    """A kind of summary; its value is the word that people read."""

    SCALAR = "scalar"
    HISTOGRAM = "histogram"
    IMAGE = "image"
    AUDIO = "audio"
    TEXT = "text"
    TENSOR = "tensor"
    PR_CURVE = "pr curve"
    MESH = "mesh"
    HPARAM = "hparam"
    CUSTOM_SCALAR = "custom scalar"
