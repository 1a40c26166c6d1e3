"""Shared maps that hold a reducing thread until a test lets it go on."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np


class SlowMaps(dict[int, memoryview]):
    """Maps that a reducing thread cannot look at before ``opened`` is set."""

    def __init__(self, values: np.ndarray) -> None:
        super().__init__({0: memoryview(values).cast("B")})
        self.is_used = threading.Event()
        self.opened = threading.Event()

    def get(self, number: int, default: Any = None) -> Any:
        self.is_used.set()
        assert self.opened.wait(60)
        return super().get(number, default)
