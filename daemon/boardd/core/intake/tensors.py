"""Tensors that arrive in pieces, before the frame that describes them."""

from __future__ import annotations

from dataclasses import dataclass, field

from boardd_protos.limits import MAX_TENSORS

from boardd.core.errors import RequestError

#: Tensors of one record; an embedding has two.
#: Records with half-received tensors.
MAX_RECORDS = 64
#: What a piece costs beside its bytes.
PIECE_BYTES = 128


@dataclass
class TensorChunks:
    """The tensors of one record, each as its pieces in order."""

    tensors: dict[int, list[bytes]] = field(default_factory=dict)
    #: Bytes received of each tensor.
    lengths: dict[int, int] = field(default_factory=dict)
    #: What the record is charged for.
    held_bytes: int = 0
    #: Whether the tensors were thrown away.
    too_large: bool = False


class TensorAssembly:
    """Collects pieces until their frame comes.

    A record whose tensors exceed ``max_tensor_bytes``, together with those of
    other records that wait for their frames, keeps no bytes and is marked
    ``too_large``: its frame is still to come, and is rejected then.
    """

    def __init__(self, max_tensor_bytes: int) -> None:
        # A sixteenth more for the cost of pieces: enough for pieces of 2 KiB.
        self._max_held_bytes = max_tensor_bytes + max_tensor_bytes // 16 + PIECE_BYTES
        self._records: dict[int, TensorChunks] = {}
        self.held_bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    def add(self, sequence: int, tensor: int, offset: int, data: bytes) -> None:
        """Takes one piece.

        Raises ``RequestError`` when it does not begin where the one before it
        ended, or the tensor's number is past ``MAX_TENSORS``.
        """
        pieces = self._records.get(sequence)
        if pieces is None:
            if len(self._records) >= MAX_RECORDS:
                raise RequestError(
                    f"chunk of record {sequence}: {MAX_RECORDS} records wait for their frames"
                )
            pieces = self._records[sequence] = TensorChunks()
        if tensor >= MAX_TENSORS:
            raise RequestError(
                f"chunk of record {sequence}: tensor {tensor}; at most {MAX_TENSORS}"
            )
        length = pieces.lengths.get(tensor, 0)
        if offset != length:
            raise RequestError(
                f"chunk of record {sequence}, tensor {tensor}: offset {offset}, expected {length}"
            )
        pieces.lengths[tensor] = length + len(data)
        if pieces.too_large:
            return
        held_bytes = len(data) + PIECE_BYTES
        if self.held_bytes + held_bytes > self._max_held_bytes:
            self.held_bytes -= pieces.held_bytes
            self._records[sequence] = TensorChunks(lengths=pieces.lengths, too_large=True)
            return
        pieces.tensors.setdefault(tensor, []).append(data)
        pieces.held_bytes += held_bytes
        self.held_bytes += held_bytes

    def take(self, sequence: int) -> TensorChunks:
        """Removes and returns the pieces of ``sequence``; none were needed where it has none."""
        pieces = self._records.pop(sequence, None)
        if pieces is None:
            return TensorChunks()
        self.held_bytes -= pieces.held_bytes
        return pieces

    def forget_until(self, sequence: int) -> None:
        """Throws away what belongs to records up to ``sequence``: their frames have come."""
        for old in [number for number in self._records if number <= sequence]:
            self.take(old)
