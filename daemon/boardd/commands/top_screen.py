"""What ``boardd top`` shows of one look at a daemon, made of Rich's tables."""

from __future__ import annotations

import os

from boardd_protos import boardd_pb2 as pb
from boardd_protos.printable import printable
from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from boardd.commands.quantities import duration, size
from boardd.commands.rates import Rates, RunRate
from boardd.commands.status_text import most_telling, reducing_text, run_weight

#: Lines beside those of runs.
HEAD_LINES = 8


def screen(reply: pb.StatusReply, rates: Rates, max_rows: int) -> RenderableType:
    """The daemon's figures, and of its runs the ``max_rows`` that there is most to tell of."""

    def weight(run: pb.RunStatus) -> tuple[int, ...]:
        return *run_weight(run), int(rates.runs.get(run.path, RunRate()).records_per_sec)

    shown = most_telling(reply.runs, max(1, max_rows), weight)
    parts: list[RenderableType] = [_head(reply, rates), _runs(reply, shown, rates)]
    if len(shown) < len(reply.runs):
        parts.append(Text(f"{len(reply.runs) - len(shown)} more runs", style="dim"))
    parts += [_reduction(run) for run in shown if run.reducing_tag]
    troubled = [run for run in shown if run.trouble]
    parts += [Text(printable(f"{run.path}: {run.trouble}"), style="red") for run in troubled]
    return Group(*parts)


def _head(reply: pb.StatusReply, rates: Rates) -> RenderableType:
    counters = reply.counters
    rejected = sum(item.records for item in counters.rejected)
    dropped = sum(item.records for item in counters.dropped_by_client)
    synced_bytes = sum(run.synced_bytes for run in reply.runs)
    budget = reply.intake_budget_bytes
    grid = Table.grid(padding=(0, 2))
    grid.add_row(
        Text(f"boardd {printable(reply.version)}", style="bold"),
        f"pid {reply.pid}, up {duration(reply.uptime_secs)}, {size(reply.rss_bytes)} resident, "
        f"{len(reply.sessions)} sessions, {len(reply.runs)} runs",
    )
    grid.add_row(
        "written",
        f"{rates.records_per_sec:,.0f} records/s, {size(rates.bytes_per_sec)}/s; "
        f"{counters.written:,} records in all, {size(counters.written_bytes)}; "
        f"{size(synced_bytes)} of open runs synced",
    )
    queue = Table.grid(padding=(0, 1))
    queue.add_row(
        f"{size(reply.intake_bytes)} of {size(budget)}, {counters.pending:,} records",
        ProgressBar(total=max(1, budget), completed=min(reply.intake_bytes, budget), width=20),
    )
    grid.add_row("waiting", queue)
    lost = f"{dropped:,} dropped by clients, {rejected:,} rejected"
    grid.add_row("lost", Text(lost, style="yellow" if dropped or rejected else ""))
    return grid


def _reduction(run: pb.RunStatus) -> RenderableType:
    about_secs = max(1.0, run.reducing_about_secs)
    grid = Table.grid(padding=(0, 1))
    grid.add_row(
        ProgressBar(total=about_secs, completed=min(about_secs, run.reducing_secs), width=20),
        Text(printable(f"{run.path}: {reducing_text(run)}")),
    )
    return grid


def _runs(reply: pb.StatusReply, shown: list[pb.RunStatus], rates: Rates) -> RenderableType:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1))
    # The names of runs have what the figures, which are never wrapped, leave of the width.
    table.add_column("run")
    for name in ("ranks", "rec/s", "bytes/s", "waits", "lag", "drops", "written", "synced"):
        table.add_column(name, justify="right", no_wrap=True)
    for run in shown:
        rate = rates.runs.get(run.path, RunRate())
        table.add_row(
            Text(printable(_name(run, reply)), no_wrap=True, overflow="ellipsis"),
            f"{run.group.ranks}/{run.group.world_size}" if run.HasField("group") else "-",
            f"{rate.records_per_sec:,.0f}",
            size(rate.bytes_per_sec),
            f"{run.pending:,}",
            _lag(run, rate),
            f"{run.dropped:,}",
            size(run.written_bytes),
            f"{run.synced_bytes / run.written_bytes:.0%}" if run.written_bytes else "-",
            style="red" if run.trouble else "yellow" if run.dropped else "",
        )
    return table


def _name(run: pb.RunStatus, reply: pb.StatusReply) -> str:
    """The run's path beneath its root."""
    path = run.group.directory or run.path
    merging = " (merging)" if run.HasField("group") else ""
    for root in reply.logdir_roots:
        if root != "/" and path.startswith(f"{root}/"):
            return os.path.relpath(path, root) + merging
    return path + merging


def _lag(run: pb.RunStatus, rate: RunRate) -> str:
    """How far behind it is: in steps of its slowest rank, or in time of what waits."""
    if run.HasField("group") and run.group.step_lag:
        return f"{run.group.step_lag:,} steps"
    return f"{rate.lag_secs:.1f} s" if rate.lag_secs < 60 else duration(rate.lag_secs)
