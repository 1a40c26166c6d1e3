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
#: What to do about runs and records that the daemon refuses; of other reasons the message says it.
REASON_CURES: Final = {
    pb.OUTSIDE_ROOTS: "log beneath a root, or start the daemon with one more --logdir-root",
    pb.NOT_A_DIRECTORY: "move away what is in the way, or log elsewhere",
    pb.UNWRITABLE: "give the daemon's user the right to write there, or log elsewhere",
    pb.TOO_MANY_SERIES: (
        "use fewer tags, or raise --max-series-per-run, --max-series-per-session or "
        "--max-definition-bytes"
    ),
    pb.TOO_MANY_RUNS: "close writers, or raise --max-runs or --max-definition-bytes",
    pb.TENSOR_TOO_LARGE: (
        "log a part of the tensor, or raise --max-tensor-bytes or --reduction-bytes"
    ),
    pb.UNSUPPORTED: "update the daemon to the version of the client",
    pb.DAEMON_KILLED: "find out what killed it, too little memory perhaps: lower --reduction-bytes",
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
            f"{REASON_CURES.get(refused.reason, 'see to it')}; then make a new writer",
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
            REASON_CURES.get(item.reason, _OTHER_CURE),
        )
