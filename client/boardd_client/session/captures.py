"""A record whose tensors, or whose value, are being copied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from boardd_client.errors import CaptureError
from boardd_client.memory.arena import Slot
from boardd_client.memory.pending import Pending, PendingScalar


class CaptureResult(NamedTuple):
    """What became of a capture."""

    failure: str | None  #: why the record is lost; None if it is not
    value: float | None  #: of a scalar that needs no slot


@dataclass(slots=True)
class Capture:
    """A record whose tensors are being copied; ``pendings`` is None until they are started."""

    sequence: int
    slots: tuple[Slot, ...]
    scalar_dtype: str = ""  #: of the one element, if the record is a lazy scalar
    pendings: list[Pending] | None = None
    lazy: PendingScalar | None = None  #: instead of pendings, of a scalar that needs no slot

    @property
    def is_started(self) -> bool:
        """Whether it is known what is to be waited for."""
        return self.pendings is not None or self.lazy is not None

    def is_done(self) -> bool:
        """Whether ``wait`` would return at once."""
        if self.lazy is not None:
            return self.lazy.is_done()
        return all(pending.is_done() for pending in self.pendings or ())

    def wait(self) -> CaptureResult:
        """Waits until no copy is under way any more."""
        failure: str | None = None
        value: float | None = None
        waits: list[Callable[[], float | None]] = []
        if self.lazy is not None:
            waits.append(self.lazy.result)
        waits += [pending.wait for pending in self.pendings or ()]
        for wait in waits:  # also after a failure: the slots are given back after the last
            try:
                value = wait()
            except CaptureError as error:
                failure = str(error) or "the framework failed to yield the value"
            except Exception as error:  # a framework may raise anything
                failure = f"{type(error).__name__}: {error}"
        return CaptureResult(failure, value)
