"""What a daemon reports about itself, as text for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from boardd_protos import boardd_pb2 as pb
from boardd_protos.printable import counted, printable
from boardd_protos.reasons import reason_name
from google.protobuf.message import Message

from boardd.commands.quantities import duration, size

#: So that a status fits a screen: of sessions and of runs, the most telling are shown.
MAX_ROWS: Final = 20
_SESSION_HEAD: Final = (
    *("session", "host", "pid", "program", "stream", "shares"),
    *("received", "written", "rejected", "dropped"),
)
_RUN_HEAD: Final = (
    *("directory", "file", "size", "series", "pending", "steps backwards"),
    *("rejected", "dropped"),
)

_Row = TypeVar("_Row", pb.SessionStatus, pb.RunStatus)


def render(reply: pb.StatusReply, max_rows: int = MAX_ROWS) -> str:
    """Returns ``reply`` as lines of text, without a closing newline.

    Of sessions and of runs at most ``max_rows`` are shown: those that wait or lost something
    first, then the latest.
    """
    lines = [
        f"boardd {reply.version}, pid {reply.pid}, up {duration(reply.uptime_secs)}, "
        f"{size(reply.rss_bytes)} resident"
    ]
    facts = [("listening", item) for item in reply.addresses]
    facts += [("writing below", item) for item in reply.logdir_roots]
    held = f"{size(reply.intake_bytes)} of {size(reply.intake_budget_bytes)}"
    facts.append(("held in memory", held))
    facts.extend(_counts(reply.counters))
    lines.extend(f"{name:<15} {text}" for name, text in facts)
    lines.append("")
    lines += _heading("sessions", len(reply.sessions), max_rows)
    sessions = most_telling(reply.sessions, max_rows, _session_weight)
    lines.extend(_columns(_SESSION_HEAD, [_session_row(session) for session in sessions]))
    lines += [
        f"  session {session.number}: its client is boardd {session.client_version}"
        for session in sessions
        if session.client_version not in ("", reply.version)
    ]
    lines += _heading("runs", len(reply.runs), max_rows)
    runs = most_telling(reply.runs, max_rows, run_weight)
    lines.extend(_columns(_RUN_HEAD, [_run_row(run) for run in runs]))
    lines += [f"  {_merged(run.group)}" for run in runs if run.HasField("group")]
    lines += [f"  {run.path}: {run.forwarding}" for run in runs if run.forwarding]
    lines += [f"  {run.path}: {reducing_text(run)}" for run in runs if run.reducing_tag]
    refused = reply.refused_runs[-max_rows:]
    if refused:
        lines.append(f"refused runs, the latest last: {len(reply.refused_runs)}")
    lines += [
        f"  {run.path} of {run.program}: {reason_name(run.reason)}: {run.message}"
        for run in refused
    ]
    lines += [f"  {shipping_text(store)}" for store in reply.stores]
    trouble = [f"  {run.path}: {run.trouble}" for run in runs if run.trouble]
    trouble += [
        f"  {store.url} cannot be reached, next try in {duration(store.retry_secs)}: "
        f"{store.last_error}"
        for store in reply.stores
        if store.last_error
    ]
    lines.append("trouble:" if trouble else "trouble: none")
    lines.extend(trouble)
    # Names and messages come from clients.
    return "\n".join(map(printable, lines))


def most_telling(
    rows: Sequence[_Row], max_rows: int, weight: Callable[[_Row], tuple[int, ...]]
) -> list[_Row]:
    """The ``max_rows`` of ``rows`` with the highest ``weight``, the later of equals, in order."""
    indexes = sorted(range(len(rows)), key=lambda index: (weight(rows[index]), index))
    return [rows[index] for index in sorted(indexes[-max_rows:])]


def run_weight(run: pb.RunStatus) -> tuple[int, ...]:
    """How much there is to tell of a run: held up, lost records, records that wait."""
    rejected = sum(count.records for count in run.rejected)
    return bool(run.trouble), run.dropped + rejected, run.pending


def reducing_text(run: pb.RunStatus) -> str:
    """How far a long reduction is."""
    about = f" of about {duration(run.reducing_about_secs)}" if run.reducing_about_secs >= 1 else ""
    return f"{run.reducing_tag} is being reduced, for {duration(run.reducing_secs)}{about}"


def shipping_text(store: pb.StoreStatus) -> str:
    """What a store has, and what waits to be shipped there."""
    shipped = f"{counted(store.shipped_files, 'file')} ({size(store.shipped_bytes)}) shipped"
    if not store.pending_bytes:
        return f"{store.url}: {shipped}, nothing waits"
    return (
        f"{store.url}: {shipped}, {size(store.pending_bytes)} not there yet, the oldest for "
        f"{duration(store.oldest_secs)}; closed files among them: {store.pending_files:,}"
    )


def _session_weight(session: pb.SessionStatus) -> tuple[int, ...]:
    counters = session.counters
    lost = (*counters.rejected, *counters.dropped_by_client)
    return sum(count.records for count in lost), counters.pending


def _heading(what: str, count: int, max_rows: int) -> list[str]:
    shown = f", {max_rows} of them shown; --all shows every one" if count > max_rows else ""
    return [f"{what}: {count or 'none'}{shown}"]


def _session_row(session: pb.SessionStatus) -> tuple[str, ...]:
    return (
        str(session.number),
        session.hostname,
        str(session.pid),
        session.program,
        "attached" if session.attached else "detached",
        size(session.map_bytes) if session.map_bytes else "-",
        f"{session.received_sequence:,}",
        f"{session.written_sequence:,}",
        f"{sum(item.records for item in session.counters.rejected):,}",
        _dropped(session.counters.dropped_by_client),
    )


def _run_row(run: pb.RunStatus) -> tuple[str, ...]:
    return (
        f"{run.group.directory} (merged)" if run.HasField("group") else run.path,
        run.file or "-",
        size(run.written_bytes),
        f"{run.series:,}",
        f"{run.pending:,}",
        f"{run.steps_backwards:,}",
        f"{sum(item.records for item in run.rejected):,}",
        f"{run.dropped:,}",
    )


def to_json(reply: pb.StatusReply, indent: int | None = 2) -> str:
    """Returns ``reply`` as JSON with the field names of ``boardd.proto``; one line without indent.

    Every field is there, whatever its value; bytes are hexadecimal, a reason
    is its name, and a 64-bit count is a number.
    """
    return json.dumps(_plain(reply), indent=indent, ensure_ascii=False)


def _merged(group: pb.GroupStatus) -> str:
    """How the ranks of a merged run get along."""
    facts = [f"{group.ranks:,} of {group.world_size:,} ranks"]
    if group.last_rank >= 0:
        facts.append(f"rank {group.last_rank} is last, {group.step_lag:,} steps behind")
    facts.append(f"{group.open_points:,} points wait ({size(group.open_bytes)})")
    facts.append(f"{group.late:,} late")
    if rejected := sum(item.records for item in group.rejected):
        facts.append(f"{rejected:,} rejected by their files")
    if group.kind_conflicts:
        facts.append(f"{group.kind_conflicts:,} of another kind at another host left out")
    if group.backlog_bytes:
        facts.append(f"{size(group.backlog_bytes)} to be passed on")
    return f"{group.directory}: {', '.join(facts)}"


def _counts(counters: pb.Counters) -> Iterable[tuple[str, str]]:
    rejected = sum(item.records for item in counters.rejected)
    yield (
        "records",
        f"{counters.accepted:,} accepted = {counters.written:,} written "
        f"({size(counters.written_bytes)}) + {rejected:,} rejected + {counters.pending:,} pending",
    )
    if counters.duplicates:
        yield "", f"{counters.duplicates:,} sent again, and not written twice"
    for item in counters.rejected:
        yield "rejected", f"{item.records:,} {reason_name(item.reason)}"
    for drop in counters.dropped_by_client:
        yield "dropped", f"{drop.records:,} by clients, {drop.reason} ({size(drop.size_bytes)})"


def _dropped(counts: Iterable[pb.DropCount]) -> str:
    """``0``, or how many by reason: ``12 log_full, 3 arena_full``."""
    return ", ".join(f"{count.records:,} {count.reason}" for count in counts) or "0"


def _columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    if not rows:
        return []
    table = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  "
        + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


def _plain(message: Message) -> dict[str, Any]:
    return {
        descriptor.name: _value(descriptor, getattr(message, descriptor.name))
        for descriptor in message.DESCRIPTOR.fields
    }


def _value(descriptor: Any, value: Any) -> Any:
    if isinstance(value, Message):
        return _plain(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):
        return value
    if hasattr(value, "__len__"):  # a repeated field, whatever protobuf calls its type
        return [_value(descriptor, item) for item in value]
    if descriptor.enum_type is not None:
        return reason_name(value)
    return value
