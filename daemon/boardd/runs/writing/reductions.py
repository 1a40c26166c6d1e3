"""What a record is reduced to: an event of its own, or its share of a point of several ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final, Protocol

from boardd_protos import boardd_pb2 as pb
from google.protobuf.message import DecodeError

from boardd.core.session.batch import MergedPart, SeriesPart, SummaryPart
from boardd.events.exact import ExactPartial, with_partial
from boardd.partials.codec import encode
from boardd.runs.writing.group_work import SharedSummary
from boardd.summaries.reduction import EncodedSummary, SummaryError
from boardd.summaries.series import SeriesSummaries, summarize_series
from boardd.summaries.shared_histograms import SharedRecord, reduce_together
from boardd.summaries.summarize import health_of, present, reduce_shared, summarize

#: Kinds of payloads that merge with those of another kind.
_KINDS: Final = {"histogram_raw": "histogram", "pr_curve_raw": "pr_curve"}
#: Kinds whose events do not tell all that merges: sums, and what buckets came from.
_ROUNDED_KINDS: Final = frozenset({"histogram", "histogram_raw", "pr_curve", "pr_curve_raw"})


class Reduction(Protocol):
    """What a record is reduced to."""

    @property
    def size_bytes(self) -> int:
        """Memory that it holds."""


#: Takes a record and the memory that its reduction may take, in bytes; raises ``SummaryError``.
Reduce = Callable[[SummaryPart, int], Reduction]
#: The same of several records that may be reduced together, with their parsed payloads.
ReduceTogether = Callable[
    [Sequence[tuple[SummaryPart, pb.Payload]], int], Sequence["Reduction | SummaryError"]
]


def reduce_alone(part: SummaryPart, max_working_bytes: int) -> EncodedSummary | SeriesSummaries:
    """Returns the event of a record, or of what several ranks made together.

    A rank's own copy of what its event rounds keeps what the ranks are merged from.
    """
    if isinstance(part, SeriesPart):
        return _reduce_series(part, max_working_bytes)
    tag = part.run.tags[part.tag].decode()
    if isinstance(part, MergedPart):
        return present(tag, part.step, part.wall_time, part.partial)
    if part.is_health_only:
        return _reduce_with(health_of, part, max_working_bytes)
    if part.is_copy and _payload_kind(part.payload) in _ROUNDED_KINDS:
        return _reduce_copy(part, max_working_bytes)
    return _reduce_with(summarize, part, max_working_bytes)


def _reduce_with(
    reduce: Callable[..., EncodedSummary], part: SummaryPart, max_working_bytes: int
) -> EncodedSummary:
    return reduce(
        part.run.tags[part.tag].decode(),
        part.step,
        part.wall_time,
        part.payload,
        part.tensors,
        max_working_bytes,
        part.maps,
    )


def _reduce_copy(part: SummaryPart, max_working_bytes: int) -> EncodedSummary:
    name = part.run.tags[part.tag]
    partial = reduce_to_share(part, max_working_bytes).partial
    exact = ExactPartial(name, encode(partial))
    has_health = pb.Payload.FromString(part.payload).HasField("health")
    shown = present(name.decode(), part.step, part.wall_time, partial, keeps_values=has_health)
    shown = replace(shown, event=with_partial(shown.event, exact))
    if not has_health:
        return shown
    told = _reduce_with(health_of, part, max_working_bytes)
    return replace(shown, health=told.health, exact=exact)


def _reduce_series(part: SeriesPart, max_working_bytes: int) -> SeriesSummaries:
    # What is left out is reduced as well: that is rare, and its tag is not read.
    tags = ["" if tag is None else part.run.tags[tag].decode() for tag in part.tags]
    return summarize_series(tags, part.payload, part.tensors, max_working_bytes, part.maps)


def reduce_to_share(part: SummaryPart, max_working_bytes: int) -> SharedSummary:
    """Returns what the rank that logged a record contributes to its group's point."""
    member = part.run.members[part.session_id, part.numbers[0]]
    partial = reduce_shared(
        part.run.tags[part.tag].decode(),
        part.step,
        part.wall_time,
        part.payload,
        part.tensors,
        max_working_bytes,
        part.maps,
        rank=member.rank,
    )
    return SharedSummary(_kind(part.payload), partial)


def reduce_to_shares(
    records: Sequence[tuple[SummaryPart, pb.Payload]], max_working_bytes: int
) -> list[SharedSummary | SummaryError]:
    """Returns what ``reduce_to_share`` does, or raises, for each part, with its parsed payload."""
    shared = [
        SharedRecord(
            part.run.tags[part.tag].decode(),
            part.step,
            part.wall_time,
            part.payload,
            message,
            part.tensors,
            part.maps,
            part.run.members[part.session_id, part.numbers[0]].rank,
        )
        for part, message in records
    ]
    return [
        made if isinstance(made, SummaryError) else SharedSummary("histogram", made)
        for made in reduce_together(shared, max_working_bytes)
    ]


def _kind(payload: bytes) -> str:
    kind = _payload_kind(payload)
    return _KINDS.get(kind, kind)


def _payload_kind(payload: bytes) -> str:
    try:
        return pb.Payload.FromString(payload).WhichOneof("summary") or ""
    except DecodeError:  # which the reductions refuse
        return ""
