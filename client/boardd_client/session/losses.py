"""Why a record is lost in this process after it was numbered."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from boardd_protos import boardd_pb2 as pb
from boardd_protos.reasons import reason_name


class LossReason(str, Enum):
    """Its value is what statistics call it, beside the daemon's own reasons to reject."""

    CAPTURE_FAILED = reason_name(pb.CAPTURE_FAILED)  #: the framework failed to yield the value
    RECORD_TOO_LARGE = "RECORD_TOO_LARGE"  #: for one message to this daemon
    TENSOR_TOO_LARGE = reason_name(pb.TENSOR_TOO_LARGE)  #: for this daemon's budget of one record


class Loss(NamedTuple):
    """What a record is lost of."""

    reason: LossReason
    message: str
