"""Checks of what becomes of records: those that wait, were dropped by clients, or rejected."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.reasons import reason_name

from boardd.commands.findings import Finding, fail, warn
from boardd.commands.quantities import size

#: What to do about records that clients drop, by their name of the reason.
DROP_CURES: Final = {
    "log_full": "log less often, or raise BOARDD_LOG_BYTES",
    "arena_full": (
        "log tensors less often, or raise BOARDD_ARENA_BYTES or BOARDD_LARGE_TENSOR_BYTES"
    ),
    "large_full": "log large tensors less often, or raise BOARDD_LARGE_TENSOR_BYTES",
    "run_held_up": "see which run waits with: boardd status; then see to its disk",
    "tensor_too_large": (
        "log a part of the tensor, or raise BOARDD_ARENA_BYTES or BOARDD_LARGE_TENSOR_BYTES"
    ),
    "record_too_large": "log a part of it, or raise BOARDD_LOG_BYTES",
    "too_many_series": "use fewer tags: name what goes on by its step, and not by its tag",
    "closed": "log before the SummaryWriter is closed, or make a new one",
    "process_ended": "import boardd_client before you register what logs at the exit",
}
_OTHER_CURE: Final = "the training's stderr and the daemon's log say which"


def check_records(reply: pb.StatusReply) -> Iterator[Finding]:
    """Yields what keeps records from being written, and which were not."""
    if reply.intake_bytes > 0.9 * reply.intake_budget_bytes:
        yield warn(
            "records",
            f"{size(reply.intake_bytes)} wait, of {size(reply.intake_budget_bytes)}: clients wait",
            "see which run is slow with: boardd top",
        )
    for run in reply.runs:
        if run.trouble:
            yield fail("run", f"{run.path}: {run.trouble}", "mend that; the run goes on by itself")
    for refused in reply.refused_runs:
        yield warn(
            "run",
            f"{refused.path} was refused: {reason_name(refused.reason)}: {refused.message}",
            "see to it, and make a new writer",
        )
    for drop in reply.counters.dropped_by_client:
        yield warn(
            "records",
            f"{drop.records:,} dropped by clients: {drop.reason}",
            DROP_CURES.get(drop.reason, _OTHER_CURE),
        )
    for item in reply.counters.rejected:
        yield warn(
            "records",
            f"{item.records:,} rejected: {reason_name(item.reason)}",
            _OTHER_CURE,
        )
