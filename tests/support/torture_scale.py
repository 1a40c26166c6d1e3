"""How far torture goes: the short form of every test run, or the long one of ``make torture``."""

from __future__ import annotations

import os
import sys
import time
from typing import TypeVar

T = TypeVar("T")

IS_LONG = os.environ.get("TORTURE") == "long"


def long_or(short: T, long: T) -> T:
    """``long`` in the long form."""
    return long if IS_LONG else short


def seed() -> int:
    """``TORTURE_SEED``; else 0, and another one each time in the long form. It is printed."""
    found = os.environ.get("TORTURE_SEED") or long_or("0", str(time.time_ns() % 1_000_000))
    print(f"TORTURE_SEED={found}", file=sys.stderr)
    return int(found)


class Progress:
    """A line on how far it is, every few seconds, in the long form."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._began = self._told = time.monotonic()

    def step(self, what: str) -> None:
        """One of ``total`` is done."""
        self._done += 1
        now = time.monotonic()
        if IS_LONG and now > self._told + 5.0:
            self._told = now
            self.tell(f"{self._done} of {self._total}, {now - self._began:.0f} s: {what}")

    def tell(self, what: str) -> None:
        """Says something at once."""
        print(what, file=sys.__stderr__, flush=True)
