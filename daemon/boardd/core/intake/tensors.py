"""Tensors that arrive in chunks, before the frame that describes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from boardd_protos.limits import MAX_TENSORS

from boardd.core.errors import RequestError

#: Records with half-received tensors.
MAX_RECORDS: Final = 64
#: What a chunk costs beside its bytes.
CHUNK_COST_BYTES: Final = 128


@dataclass
class TensorChunks:
    """The tensors of one record, each as its chunks in order."""

    tensors: dict[int, list[bytes]] = field(default_factory=dict)
    #: Bytes received of each tensor.
    lengths: dict[int, int] = field(default_factory=dict)
    #: What the record is charged for.
    held_bytes: int = 0
    #: Whether the tensors were thrown away.
    too_large: bool = False


class TensorAssembly:
    """Collects chunks until their frame comes.

    A record whose tensors exceed ``max_tensor_bytes``, together with those of
    other records that wait for their frames, keeps no bytes and is marked
    ``too_large``: its frame is still to come, and is rejected then.
    """

    def __init__(self, max_tensor_bytes: int) -> None:
        # A sixteenth more for the cost of chunks: enough for chunks of 2 KiB.
        self._max_held_bytes = max_tensor_bytes + max_tensor_bytes // 16 + CHUNK_COST_BYTES
        self._records: dict[int, TensorChunks] = {}
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def add(self, sequence: int, tensor: int, offset: int, data: bytes) -> None:
        """Takes one chunk.

        Raises ``RequestError`` when it does not begin where the one before it
        ended, when the tensor's number is ``MAX_TENSORS`` or more, and when
        ``MAX_RECORDS`` other records wait for their frames.
        """
        record = self._records.get(sequence)
        if record is None:
            if len(self._records) >= MAX_RECORDS:
                raise RequestError(
                    f"chunk of record {sequence}: {MAX_RECORDS} records wait for their frames"
                )
            record = self._records[sequence] = TensorChunks()
        if tensor >= MAX_TENSORS:
            raise RequestError(
                f"chunk of record {sequence}: tensor {tensor}; at most {MAX_TENSORS}"
            )
        length = record.lengths.get(tensor, 0)
        if offset != length:
            raise RequestError(
                f"chunk of record {sequence}, tensor {tensor}: offset {offset}, expected {length}"
            )
        record.lengths[tensor] = length + len(data)
        if record.too_large:
            return
        held_bytes = len(data) + CHUNK_COST_BYTES
        if self.held_bytes + held_bytes > self._max_held_bytes:
            self.held_bytes -= record.held_bytes
            self._records[sequence] = TensorChunks(lengths=record.lengths, too_large=True)
            return
        record.tensors.setdefault(tensor, []).append(data)
        record.held_bytes += held_bytes
        self.held_bytes += held_bytes

    def take(self, sequence: int) -> TensorChunks:
        """Removes and returns the chunks of ``sequence``; there are none if it needed none."""
        record = self._records.pop(sequence, None)
        if record is None:
            return TensorChunks()
        self.held_bytes -= record.held_bytes
        return record

    def forget_until(self, sequence: int) -> None:
        """Throws away what belongs to records up to ``sequence``: their frames have come."""
        for old in [number for number in self._records if number <= sequence]:
            self.take(old)
