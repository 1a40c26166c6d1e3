"""A record whose tensors, or whose value, are being copied."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from boardd_client.errors import CaptureError
from boardd_client.memory.arena import Slot
from boardd_client.memory.pending import Pending, PendingScalar


@dataclass(slots=True)
class Capture:
    """A record whose tensors are being copied; ``pendings`` is None until that has begun."""

    sequence: int
    slots: tuple[Slot, ...]
    scalar_dtype: str = ""  #: of the one element, where the record is a lazy scalar
    pendings: list[Pending] | None = None
    lazy: PendingScalar | None = None  #: instead of pendings, of a scalar that needs no slot

    def is_done(self) -> bool:
        """Whether ``wait`` would return at once."""
        if self.lazy is not None:
            return self.lazy.is_done()
        return all(pending.is_done() for pending in self.pendings or ())

    def wait(self) -> tuple[str, float | None]:
        """Waits until no copy is under way any more.

        Returns why the value is lost, empty where it is not, and the value if it is a
        scalar's that needs no slot.
        """
        failure = ""
        value: float | None = None
        waits: list[Callable[[], float | None]] = []
        if self.lazy is not None:
            waits.append(self.lazy.result)
        waits += [pending.wait for pending in self.pendings or ()]
        for wait in waits:  # also after a failure: the slots are given back behind the last
            try:
                value = wait()
            except CaptureError as error:
                failure = str(error) or "the framework failed to yield the value"
            except Exception as error:  # a framework may raise anything
                failure = f"{type(error).__name__}: {error}"
        return failure, value
