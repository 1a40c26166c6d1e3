"""Loads what a daemon's first histogram needs when it is imported: see ``support.nursery``."""

from __future__ import annotations

import numpy as np
from boardd.reduce.histogram.bins import EqualWidth
from boardd.reduce.histogram.histogram import histogram

histogram(np.arange(9.0), EqualWidth(3))
