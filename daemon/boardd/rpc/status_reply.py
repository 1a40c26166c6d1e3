"""What the daemon holds and has done, as a message."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, fields

from boardd_protos import __version__
from boardd_protos import boardd_pb2 as pb

from boardd.core.durations import UPPER_SECS, Timings
from boardd.core.held import Held
from boardd.core.runs.run_state import LongReduction, RunState
from boardd.runs.directories.logdir import Roots
from boardd.runs.writing.turn import Turn
from boardd.sessions.live_session import LiveSession
from boardd.sessions.registry import Registry


def status_reply(
    registry: Registry,
    *,
    started_at: float,
    uptime_secs: float,
    roots: Roots,
    addresses: Iterable[str],
    held: Iterable[Held],
    timings: Timings,
) -> Iterator[pb.StatusReply]:
    """Yields the status, which grows by a session or a run each time, until it is whole.

    ``started_at`` is in seconds since the epoch.
    """
    reply = pb.StatusReply(
        version=__version__,
        pid=os.getpid(),
        started_at=started_at,
        uptime_secs=uptime_secs,
        logdir_roots=map(roots.shown, roots.paths),
        addresses=addresses,
        counters=registry.counters().message(),
        rss_bytes=_rss_bytes(),
        intake_bytes=registry.intake.held_bytes,
        intake_budget_bytes=registry.intake.budget_bytes,
        answered_at=time.time(),
    )
    reply.budgets.extend(
        pb.BudgetStatus(name=name, held=count, limit=limit) for name, count, limit in held
    )
    reply.durations.extend(_duration_status(item.name, timings) for item in fields(timings))
    reply.refused_runs.extend(
        pb.RefusedRun(
            path=run.path,
            reason=run.reason,  # type: ignore[arg-type]
            message=run.message,
            program=run.program,
            refused_at=run.refused_at,
            times=run.times,
        )
        for run in registry.refused_runs
    )
    if roots.spool is not None:
        reply.stores.extend(pb.StoreStatus(**asdict(store)) for store in roots.spool.reports())
    yield reply
    for live in registry:
        reply.sessions.append(_session_status(live))
        yield reply
    for run in list(registry.runs.values()):
        reply.runs.append(_run_status(run, roots.shown))
        yield reply


async def whole(pieces: Iterator[pb.StatusReply]) -> pb.StatusReply:
    """The last of ``pieces``; lets others have their turns between them."""
    turn = Turn()
    reply = next(pieces)
    for _ in pieces:
        await turn.pause()
    return reply


def _duration_status(name: str, timings: Timings) -> pb.DurationStatus:
    counts, sum_secs = getattr(timings, name).snapshot()
    return pb.DurationStatus(name=name, sum_secs=sum_secs, upper_secs=UPPER_SECS, counts=counts)


def _session_status(live: LiveSession) -> pb.SessionStatus:
    session = live.session
    return pb.SessionStatus(
        number=live.number,
        hostname=session.client.hostname,
        pid=session.client.pid,
        program=session.client.program,
        client_version=session.client.version,
        attached=live.stream is not None,
        received_sequence=session.received_sequence,
        written_sequence=session.written_sequence,
        counters=session.counters.message(),
        map_bytes=live.maps.size_bytes,
    )


def _run_status(run: RunState, shown: Callable[[str], str]) -> pb.RunStatus:
    reducing = run.progress.reducing or LongReduction("", time.monotonic(), 0.0)
    return pb.RunStatus(
        path=shown(run.path),
        file=run.progress.file,
        written_bytes=run.progress.written_bytes,
        written=run.progress.written,
        synced_bytes=run.progress.synced_bytes,
        reducing_tag=reducing.tag,
        reducing_secs=time.monotonic() - reducing.began if reducing.tag else 0.0,
        reducing_about_secs=reducing.about_secs,
        pending=run.pending,
        trouble=run.progress.trouble or (run.refusal.message if run.refusal is not None else ""),
        forwarding=run.progress.forwarding,
        series=len(run.tags),
        steps_backwards=run.progress.steps_backwards,
        dropped=min(sum(run.dropped.values()), (1 << 64) - 1),
        rejected=_reject_counts(run.progress.rejected),
        group=_group_status(run, shown(run.group)) if run.is_merged else None,
    )


def _group_status(run: RunState, directory: str) -> pb.GroupStatus:
    group = run.progress.group
    return pb.GroupStatus(
        directory=directory,
        world_size=group.world_size,
        ranks=group.ranks,
        last_rank=group.last_rank,
        step_lag=group.step_lag,
        open_points=group.open_points,
        open_bytes=group.open_bytes,
        late=group.late,
        rejected=_reject_counts(group.rejected),
        kind_conflicts=group.kind_conflicts,
        backlog_bytes=group.backlog_bytes,
    )


def _reject_counts(rejected: Mapping[int, int]) -> list[pb.RejectCount]:
    return [
        pb.RejectCount(reason=reason, records=count)  # type: ignore[arg-type]
        for reason, count in sorted(rejected.items())
    ]


def _rss_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
