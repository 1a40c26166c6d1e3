"""What is wrong with the content of a record, as the two errors that a client can tell apart.

Each is named after its ``Reason``. They are here, and free of protobuf, so that
rooms that import nothing of each other raise the same two.
"""

from __future__ import annotations


class InvalidTensorError(ValueError):
    """INVALID_TENSOR: dtype, shape, bytes or values of a tensor do not fit what it is logged as."""


class InvalidRecordError(ValueError):
    """INVALID_RECORD: the options of a record contradict themselves or each other."""
