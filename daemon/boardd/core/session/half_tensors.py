"""Half-received tensors, and what the intake is charged for them."""

from __future__ import annotations

from boardd_protos import boardd_pb2 as pb

from boardd.core.budget import Intake
from boardd.core.intake.tensors import TensorAssembly, TensorChunks


class HalfTensors:
    """The tensors of one session whose records are still to come.

    Their length is the number of those records. A record has at most
    ``max_tensor_bytes``; see ``TensorAssembly``.
    """

    def __init__(self, max_tensor_bytes: int, intake: Intake) -> None:
        self._max_tensor_bytes = max_tensor_bytes
        self._intake = intake
        self._assembly = TensorAssembly(max_tensor_bytes)
        self._charged_bytes = 0

    def __len__(self) -> int:
        return len(self._assembly)

    @property
    def charged_bytes(self) -> int:
        """What the intake is charged for them."""
        return self._charged_bytes

    def add(self, chunk: pb.TensorChunk) -> None:
        """Takes a chunk. Raises ``RequestError`` as ``TensorAssembly.add`` does."""
        self._assembly.add(chunk.sequence, chunk.tensor, chunk.offset, chunk.data)
        self.settle()

    def take(self, sequence: int) -> TensorChunks:
        """Removes and returns the chunks of a record, which stay charged until ``settle``."""
        return self._assembly.take(sequence)

    def settle(self) -> None:
        """Charges the intake for what is held now."""
        held_bytes = self._assembly.held_bytes
        if held_bytes >= self._charged_bytes:
            self._intake.charge(held_bytes - self._charged_bytes)
        else:
            self._intake.release(self._charged_bytes - held_bytes)
        self._charged_bytes = held_bytes

    def forget_until(self, sequence: int) -> None:
        """Throws away what belongs to records up to ``sequence``: their frames have come."""
        if self._assembly:
            self._assembly.forget_until(sequence)
            self.settle()

    def clear(self) -> None:
        """Throws away everything."""
        self._assembly = TensorAssembly(self._max_tensor_bytes)
        self.settle()
