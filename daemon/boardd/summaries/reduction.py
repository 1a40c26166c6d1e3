"""What a summary is made from, and what it is made into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.invalid import InvalidRecordError
from boardd_protos.summary_kind import SummaryKind
from numpy.typing import NDArray

from boardd.events import plugins
from boardd.events.embedding import EmbeddingFiles
from boardd.events.event_pb2 import Summary
from boardd.events.exact import ExactPartial
from boardd.events.wire import EncodedValue
from boardd.summaries.health import HealthPart

#: Appended to a tag: the text that says which ranks a merged summary leaves out.
RANKS_SUFFIX: Final = "/ranks"


class SummaryError(Exception):
    """A record that cannot be made into an event. ``reason`` is a ``Reason``."""

    def __init__(self, reason: int, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, eq=False)
class ReductionInput:
    """One record: its tag, step, wall time in seconds since the epoch, and content.

    ``arrays`` are the payload's tensors. ``max_working_bytes`` is the memory
    that a reduction may take beside them.
    """

    tag: str
    step: int
    wall_time: float
    payload: pb.Payload
    arrays: Sequence[NDArray[Any]]
    max_working_bytes: int


@dataclass(frozen=True, eq=False)
class ReductionOutput:
    """What one record shows: summary values, a serialized GraphDef, or an embedding."""

    values: Sequence[Summary.Value | EncodedValue] = field(default_factory=list)
    graph_def: bytes = b""
    embedding: EmbeddingFiles | None = None


@dataclass(frozen=True, eq=False)
class EncodedSummary:
    """A record ready to be written: its encoded event, and side files if it has any.

    ``kinds`` leads from each tag that the event uses to the kind of summary it
    has there. With ``health``, ``values`` are those of the event, to which others are added;
    ``exact`` is what else it keeps then.
    """

    event: bytes
    kinds: Mapping[bytes, SummaryKind]
    embedding: EmbeddingFiles | None = None
    health: HealthPart | None = None
    values: Sequence[Summary.Value | EncodedValue] = ()
    exact: ExactPartial | None = None

    @property
    def size_bytes(self) -> int:
        """The memory that it holds."""
        size_bytes = len(self.event)
        if self.embedding is not None:
            size_bytes += memoryview(self.embedding.tensors).nbytes
            size_bytes += len(self.embedding.metadata or b"") + len(self.embedding.sprite or b"")
        return size_bytes


def with_note(output: ReductionOutput, tag: str, text: str) -> ReductionOutput:
    """Returns ``output`` and a text ``<tag>/ranks``, in Markdown, about whose it is."""
    note = plugins.text_value(tag + RANKS_SUFFIX, text)
    return replace(output, values=[*output.values, note])


def named_arrays(source: ReductionInput, **indexes: int) -> dict[str, NDArray[Any] | None]:
    """Returns the optional tensors that a payload names by their index, None if it is 0.

    The first tensor has no name. Raises ``InvalidRecordError`` unless every other one
    is named exactly once.
    """
    named = sorted(index for index in indexes.values() if index)
    if named != list(range(1, len(source.arrays))):
        raise InvalidRecordError(
            f"{len(source.arrays)} tensors, of which "
            f"{', '.join(f'{name} names {index}' for name, index in indexes.items())}; "
            "each but the first is to be named once"
        )
    return {name: source.arrays[index] if index else None for name, index in indexes.items()}
