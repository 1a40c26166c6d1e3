"""Matplotlib figures to pixels, on the caller's thread: matplotlib is not thread-safe."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from boardd_client.calls import arguments


def pixels(figure: Any, *, close: bool) -> NDArray[np.uint8]:
    """Draws a figure, uint8[height, width, 3], or a list of them, uint8[n, height, width, 3].

    ``close`` closes them in ``pyplot``, even if drawing fails.

    Raises ``TypeError`` for anything but figures, and ``ValueError`` for an empty list and
    for figures of different sizes.
    """
    several = isinstance(figure, (list, tuple))
    listed = list(figure) if several else [figure]
    figure_type = _figure_type()
    for number, item in enumerate(listed):
        if figure_type is None or not isinstance(item, figure_type):
            name = f"figure[{number}]" if several else "figure"
            raise TypeError(f"{name} is a {arguments.kind(item)}, expected a matplotlib Figure")
    if not listed:
        raise ValueError("figure is an empty list, expected one figure or more")
    try:
        drawn = [_drawn(item) for item in listed]
    finally:
        pyplot = sys.modules.get("matplotlib.pyplot")
        if close and pyplot is not None:
            for item in listed:
                pyplot.close(item)
    if not several:
        return drawn[0]
    sizes = {image.shape[:2] for image in drawn}
    if len(sizes) > 1:
        raise ValueError(f"figures of different sizes, (height, width) {sorted(sizes)}")
    return np.stack(drawn)


def _figure_type() -> Any:
    # A process that has a figure has loaded this module.
    module = sys.modules.get("matplotlib.figure")
    return None if module is None else module.Figure


def _drawn(figure: Any) -> NDArray[np.uint8]:
    agg: Any = importlib.import_module("matplotlib.backends.backend_agg")
    shown_on = figure.canvas
    try:
        canvas = agg.FigureCanvasAgg(figure)
        canvas.draw()
        image: NDArray[np.uint8] = np.asarray(canvas.buffer_rgba())[:, :, :3]
    finally:
        figure.set_canvas(shown_on)
    return image
