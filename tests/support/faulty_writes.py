"""Writes to files that fail as a seed says, in one daemon's life."""

from __future__ import annotations

import errno
import os
import random


class KilledError(BaseException):
    """The daemon is no more."""


class FaultyWrites:
    """Takes the place of ``os.write``. Each write fails with the probability ``chance``.

    ``kind``: a "kill" may tear a write, as a "full" disk and an "error" do, which say why
    at the next write; "unsure" is an error that does not tell how much was written. Empty:
    none fails.
    """

    def __init__(self, rnd: random.Random, kind: str, chance: float) -> None:
        self._rnd, self._kind, self._chance = rnd, kind, chance
        self._write = os.write
        #: A write was cut short; the next says why.
        self._is_due = False

    def write(self, fd: int, data: bytes | memoryview) -> int:
        if not self._is_due and (not self._kind or self._rnd.random() >= self._chance):
            return self._write(fd, data)
        cut = 0 if self._is_due else self._rnd.randrange(len(data) + 1)
        if cut:
            self._write(fd, data[:cut])
        if self._kind == "kill":
            raise KilledError
        self._is_due = bool(cut) and self._kind != "unsure"
        if self._is_due:
            return cut
        number = errno.ENOSPC if self._kind == "full" else errno.EIO
        raise OSError(number, os.strerror(number))
