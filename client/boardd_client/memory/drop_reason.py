"""Why a record is not accepted."""

from __future__ import annotations

from enum import Enum


class DropReason(str, Enum):
    """Why a record was dropped; its value is what statistics and the daemon call it.

    ``text`` says it to people. ``may_pass``: the same record may find room later.
    """

    text: str
    may_pass: bool

    LOG_FULL = "log_full", "the budget of records is spent (BOARDD_LOG_BYTES)", True
    ARENA_FULL = (
        "arena_full",
        "the budget of tensors is spent (BOARDD_ARENA_BYTES, and BOARDD_LARGE_TENSOR_BYTES for "
        "those that find it spent)",
        True,
    )
    LARGE_FULL = (
        "large_full",
        "the budget of large tensors is spent (BOARDD_LARGE_TENSOR_BYTES)",
        True,
    )
    RUN_HELD_UP = (
        "run_held_up",
        "its run is held up, by its disk perhaps, and has spent its part of the budgets",
        True,
    )
    TENSOR_TOO_LARGE = (
        "tensor_too_large",
        "its tensors are larger than the budget of all (BOARDD_ARENA_BYTES, and "
        "BOARDD_LARGE_TENSOR_BYTES for those that do not fit there)",
        False,
    )
    RECORD_TOO_LARGE = (
        "record_too_large",
        "it is larger than the budget of all records (BOARDD_LOG_BYTES)",
        False,
    )
    TOO_MANY_SERIES = "too_many_series", "too many different tags", False
    CLOSED = "closed", "the SummaryWriter is closed", False
    PROCESS_ENDED = (
        "process_ended",
        "the process ends, and boardd has ended before: import boardd_client before you register "
        "what logs at the exit",
        False,
    )

    def __new__(cls, value: str, text: str, may_pass: bool) -> DropReason:
        """A member; the arguments are its value, ``text`` and ``may_pass``."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.text = text
        member.may_pass = may_pass
        return member

    def __str__(self) -> str:
        return str(self.value)
