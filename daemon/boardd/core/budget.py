"""Every bound of the daemon, and the account of the bytes it holds.

``Budgets`` lists the bounds; each is a flag of ``boardd``. ``Intake`` counts
the bytes of records from their receipt until they are written, and says when a
stream may be read on. A stream that may not be read is held up by gRPC's flow
control, and its client keeps what it has.

A session may hold as much as is free: one alone gets half of the budget, n that hold all
they may leave an (n+1)th part to the next. A session of which nothing is held is always
read, so that no number of sessions whose disks are full keeps others from it.

Past ``intake_bytes`` the daemon holds at most one record more, and one message
more of each session. Without that one record, half-received tensors could fill
the intake and wait for each other for ever: of the streams that are in the middle
of a tensor, one at a time goes on, until all it sent is written or the budget is
met again. What it has sent of the tensor is that one record more, so it takes no room
from others, also if it falls silent.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, fields
from typing import Final

from boardd_protos.limits import DEFAULT_MESSAGE_BYTES

MEBIBYTE = 1 << 20

#: The memory that the bounds below are parts of: more, only for who asks for it.
MEMORY_BYTES: Final = 2048 * MEBIBYTE
#: With less, hardly a record has room.
LEAST_MEMORY_BYTES: Final = 64 * MEBIBYTE
#: An event file that is shipped is ended by the append that makes it so large.
SPOOL_SEGMENT_BYTES: Final = 8 * MEBIBYTE
#: With less, runs would wait for each other's files.
LEAST_SPOOL_BYTES: Final = 8 * SPOOL_SEGMENT_BYTES


@dataclass(frozen=True)
class Budgets:
    """The bounds of one daemon. Raises ``ValueError`` for one that is not above zero."""

    #: Bytes of records received and not yet written, all sessions together.
    intake_bytes: int = 512 * MEBIBYTE
    #: Bytes of complete records of one session that are not yet written.
    session_intake_bytes: int = 256 * MEBIBYTE
    #: Bytes of the tensors of one record.
    max_tensor_bytes: int = 512 * MEBIBYTE
    #: Bytes that reductions under way take beside their tensors, estimated before they begin.
    reduction_bytes: int = 1024 * MEBIBYTE
    #: Bytes of the memory that clients share, all sessions together.
    max_map_bytes: int = 64 * 1024 * MEBIBYTE
    #: Bytes of one message on a stream.
    max_message_bytes: int = DEFAULT_MESSAGE_BYTES
    #: Sessions open at once.
    max_sessions: int = 1024
    #: Run directories open at once, and runs defined by one session.
    max_runs: int = 1024
    #: Bytes of what all sessions define: runs, tags, their names.
    max_definition_bytes: int = 512 * MEBIBYTE
    #: Tags in one run directory.
    max_series_per_run: int = 100_000
    #: Tags defined by one session.
    max_series_per_session: int = 200_000
    #: Seconds a session is kept while no stream is attached to it.
    lease_secs: float = 600.0
    #: Seconds a stream may fall silent in the middle of a tensor.
    stall_secs: float = 60.0
    #: Threads that make histograms and images.
    reducers: int = 1
    #: Threads that write event files; a slow disk keeps one busy for each run on it.
    writers: int = 8

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ValueError(f"{field.name} is {value!r}; it must be above zero")


def parts_of_memory(memory_bytes: int) -> dict[str, int]:
    """Returns the bounds in bytes that are parts of ``memory_bytes``, by their names.

    Intake, reductions and names together are all of it. A tensor of the most bytes is no more
    than half; it mostly lies in memory of its client's.
    """
    return {
        "intake_bytes": memory_bytes // 4,
        "session_intake_bytes": memory_bytes // 8,
        "max_tensor_bytes": min(Budgets.max_tensor_bytes, memory_bytes // 2),
        "reduction_bytes": memory_bytes // 2,
        "max_definition_bytes": memory_bytes // 4,
    }


def share_of_memory(limit_bytes: int, percent: float) -> int:
    """``percent`` of ``limit_bytes`` in eights of MiB, ``LEAST_MEMORY_BYTES`` at least."""
    unit_bytes = 8 * MEBIBYTE
    share_bytes = int(limit_bytes * percent / 100) // unit_bytes * unit_bytes
    return max(share_bytes, LEAST_MEMORY_BYTES)


def reducers_of(processors: float) -> int:
    """How many threads reduce: half of ``processors``, of which one may be a part."""
    return max(1, int(processors / 2))


class Intake:
    """Counts the bytes that are held for records not yet written."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._held_bytes = 0
        self._beyond: Hashable = None
        #: Bytes of tensors that the stream which goes beyond the budget is in the middle of.
        self._beyond_bytes = 0

    @property
    def held_bytes(self) -> int:
        """Bytes charged and not yet released."""
        return self._held_bytes

    @property
    def beyond(self) -> Hashable:
        """The stream that goes beyond the budget, if any does."""
        return self._beyond

    def charge(self, size_bytes: int) -> None:
        """Adds ``size_bytes`` to what is held."""
        self._held_bytes += size_bytes

    def release(self, size_bytes: int) -> None:
        """Takes ``size_bytes`` off what is held.

        Raises ``ValueError`` when fewer are held: a defect of the caller.
        """
        if size_bytes > self._held_bytes:
            raise ValueError(f"{size_bytes} bytes released, {self._held_bytes} held")
        self._held_bytes -= size_bytes
        if self._held_bytes < self.budget_bytes:
            self.leave(self._beyond)

    def may_read(self, stream: Hashable, stream_bytes: int, tensor_bytes: int | None) -> bool:
        """Whether ``stream`` may be read on, of which ``stream_bytes`` are held.

        If nothing is, it may, by one message.

        ``tensor_bytes`` of them are of tensors that it has sent a part of, ``None`` if there
        is none; the first such stream past its share goes on, and is the only one until it
        leaves or the budget is met again.
        """
        if self._beyond == stream:
            self._beyond_bytes = tensor_bytes or 0
        free_bytes = self.budget_bytes - self._held_bytes
        if self._beyond != stream:
            free_bytes += self._beyond_bytes
        if stream_bytes == 0 or stream_bytes < free_bytes:
            return True
        if tensor_bytes is not None and self._beyond is None:
            self._beyond, self._beyond_bytes = stream, tensor_bytes
        return self._beyond == stream and tensor_bytes is not None

    def leave(self, stream: Hashable) -> None:
        """Notes that nothing of ``stream`` is held: another may go past the budget."""
        if self._beyond == stream:
            self._beyond, self._beyond_bytes = None, 0
