"""Why a record is lost in this process after it was numbered."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class LossReason(str, Enum):
    """Its value is what statistics call it, beside the daemon's own reasons to reject."""

    CAPTURE_FAILED = "CAPTURE_FAILED"  #: the framework failed to yield the value
    RECORD_TOO_LARGE = "RECORD_TOO_LARGE"  #: for one message to this daemon
    TENSOR_TOO_LARGE = "TENSOR_TOO_LARGE"  #: for this daemon's budget of one record


class Loss(NamedTuple):
    """What a record is lost of."""

    reason: LossReason
    message: str
