"""Entries of a group's journal as records, and back.

An entry comes back bit for bit as it was, NaN included.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt
from boardd_protos.merging import REDUCTIONS
from boardd_protos.tags import MAX_TAG_BYTES

from boardd.core.groups.entries import (
    SCALAR,
    Attempt,
    Began,
    Closed,
    Dropped,
    Entry,
    Joined,
    Left,
    Rewound,
    Scalars,
    State,
    Summary,
    Tag,
    Tags,
    Told,
)
from boardd.core.runs.drop_reasons import MAX_DROP_REASONS, MAX_REASON
from boardd.core.runs.marks import KEY_BYTES
from boardd.events.tfrecord import record
from boardd.partials import codec, partial
from boardd.runs.journal import journal_pb2 as pb
from boardd.runs.journal.scalar_entries import INTEGER, REAL, TAG, column, scalars_data
from boardd.summaries.kinds import KINDS

VERSION: Final = 1

#: Reasons of one ``Dropped``: those that are told apart, and all others.
_MAX_COUNTS: Final = MAX_DROP_REASONS + 1
_MAX_DROPPED: Final = (1 << 63) - 1
_STATE_DTYPES: Final = frozenset({"<f8", "<i8", "|b1"})


class JournalError(ValueError):
    """A record of a journal that cannot be read although it is undamaged."""


class Opening(NamedTuple):
    """The record that opens a segment.

    ``first`` entries of the journal stand before it. ``state`` is that of the group after
    them, if it is told.
    """

    first: int
    state: State | None


def encode_opening(opening: Opening) -> bytes:
    """Returns the encoded record."""
    message = pb.Opening(version=VERSION, first=opening.first)
    if opening.state is not None:
        _fill_state(message.state, opening.state)
    return record(message.SerializeToString())


def decode_opening(data: bytes) -> Opening:
    """Returns what a record holds. Raises ``JournalError``, also for a newer version's."""
    message = pb.Opening()
    parse(message, data)
    if message.version != VERSION:
        raise JournalError(
            f"a journal of version {message.version}, and this daemon reads {VERSION}: "
            "run the daemon that wrote it, or remove the journal"
        )
    has_state = message.HasField("state")
    try:
        return Opening(message.first, _state_of(message.state) if has_state else None)
    except ValueError as error:
        raise JournalError(f"the state of a group that cannot be read: {error}") from error


def encode_entry(entry: Entry) -> bytes:
    """Returns the encoded record. Raises ``TypeError`` for what is no entry."""
    if isinstance(entry, Scalars):
        return record(scalars_data(entry))
    message = pb.Entry()
    _fill(message, entry)
    return record(message.SerializeToString())


def decode_entry(data: bytes) -> Entry:
    """Returns what a record holds. Raises ``JournalError``."""
    message = pb.Entry()
    parse(message, data)
    which = message.WhichOneof("entry")
    try:
        return _entry_of(which, message)
    except ValueError as error:
        raise JournalError(f"an entry {which!r} that cannot be read: {error}") from error


def encode_joined(entry: Joined) -> pb.Joined:
    """Returns a member as a message."""
    message = pb.Joined()
    _fill_joined(message, entry)
    return message


def decode_joined(message: pb.Joined) -> Joined:
    """Returns the member of a message."""
    return _joined_of(message)


def parse(message: pb.Opening | pb.Entry | pb.RelayedEntries, data: bytes) -> None:
    """Parses ``data`` into ``message``. Raises ``JournalError``."""
    try:
        message.ParseFromString(data)
    except Exception as error:  # DecodeError, which protobuf's versions place differently
        raise JournalError(f"a record that cannot be read: {error}") from error


def check_tag(tag: Tag) -> None:
    """Raises ``JournalError`` for a tag that this daemon could not merge.

    What is in the journal must be fit to be applied, now and whenever it is read again.
    """
    if not 0 < len(tag.name) <= MAX_TAG_BYTES:
        raise JournalError(f"a tag of {len(tag.name)} bytes; 1 to {MAX_TAG_BYTES} are taken")
    if not _is_text(tag.name):
        raise JournalError(f"tag {tag.name!r} is no text")
    if tag.reduce not in ("", *REDUCTIONS):
        raise JournalError(f"tag {tag.name!r}: this daemon cannot reduce by {tag.reduce!r}")
    if tag.kind != SCALAR and tag.kind not in KINDS:
        raise JournalError(f"tag {tag.name!r}: this daemon does not know the kind {tag.kind!r}")


def _is_text(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def _fill(message: pb.Entry, entry: Entry) -> None:
    if isinstance(entry, Summary):
        message.summary.session = entry.session
        message.summary.tag = entry.tag
        message.summary.step = entry.step
        message.summary.wall_time = entry.wall_time
        message.summary.partial = codec.encode(cast(partial.Partial, entry.partial))
    elif isinstance(entry, Closed):
        message.closed.sequence = entry.sequence
        message.closed.step = column(entry.step, INTEGER)
        message.closed.nth = column(entry.nth, INTEGER)
        message.closed.tag = entry.tag.astype(TAG).tobytes()
    elif isinstance(entry, Tags):
        _fill_tags(message.tags, entry)
    elif isinstance(entry, Joined):
        _fill_joined(message.joined, entry)
    elif isinstance(entry, Left):
        message.left.session = entry.session
    elif isinstance(entry, Rewound):
        _fill_attempt(message.rewound.attempt, entry.attempt)
        message.rewound.step = entry.step
        message.rewound.session = entry.session
        message.rewound.is_own = entry.is_own
    elif isinstance(entry, Told):
        message.told.sequence = entry.sequence
        message.told.text = entry.text
        message.told.step = entry.step
        message.told.wall_time = entry.wall_time
    elif isinstance(entry, Dropped):
        message.dropped.source = entry.source
        message.dropped.step = entry.step
        message.dropped.wall_time = entry.wall_time
        for reason, records in entry.records.items():
            message.dropped.counts.add(reason=reason, records=records)
    elif isinstance(entry, Began):
        _fill_began(message.began, entry)
    elif isinstance(entry, State):
        _fill_state(message.state, entry)
    else:
        raise TypeError(f"no entry of a journal: {entry!r}")


def _entry_of(which: str | None, message: pb.Entry) -> Entry:
    if which == "scalars":
        scalars = message.scalars
        value = _array(scalars.value, REAL)
        return Scalars(
            scalars.session,
            _rows(scalars.tag, TAG, len(value)).astype(np.intp),
            _rows(scalars.step, INTEGER, len(value)),
            _rows(scalars.wall_time, REAL, len(value)),
            value,
        )
    if which == "summary":
        one = message.summary
        return Summary(one.session, one.tag, one.step, one.wall_time, codec.decode(one.partial))
    if which == "closed":
        closed = message.closed
        tag = _array(closed.tag, TAG).astype(np.intp)
        step, nth = (_rows(data, INTEGER, len(tag)) for data in (closed.step, closed.nth))
        return Closed(closed.sequence, step, nth, tag)
    if which == "tags":
        return _tags_of(message.tags)
    if which == "joined":
        return _joined_of(message.joined)
    if which == "left":
        return Left(message.left.session)
    if which == "rewound":
        rewound = message.rewound
        attempt = _attempt_of(rewound.attempt)
        return Rewound(attempt, rewound.step, rewound.session, rewound.is_own)
    if which == "told":
        told = message.told
        return Told(told.sequence, told.text, told.step, told.wall_time)
    if which == "dropped":
        return _dropped_of(message.dropped)
    if which == "began":
        return _began_of(message.began)
    if which == "state":
        return _state_of(message.state)
    raise ValueError("its kind is not known")


def _dropped_of(message: pb.Dropped) -> Dropped:
    if len(message.source) != KEY_BYTES:
        raise ValueError(f"a source of {len(message.source)} bytes; {KEY_BYTES} are taken")
    if not math.isfinite(message.wall_time):
        raise ValueError(f"wall time {message.wall_time}")
    if len(message.counts) > _MAX_COUNTS:
        raise ValueError(f"{len(message.counts)} reasons; at most {_MAX_COUNTS} are taken")
    records = {one.reason[:MAX_REASON]: one.records for one in message.counts}
    entry = Dropped(message.source, records, message.step, message.wall_time)
    if entry.total > _MAX_DROPPED:
        raise ValueError(f"{entry.total} records; at most {_MAX_DROPPED} are taken")
    return entry


def _fill_began(message: pb.Began, entry: Began) -> None:
    message.group_id = entry.group_id
    message.world_size = entry.world_size


def _began_of(message: pb.Began) -> Began:
    return Began(message.group_id, message.world_size)


def _fill_joined(message: pb.Joined, entry: Joined) -> None:
    message.session = entry.session
    message.rank = entry.rank
    _fill_attempt(message.attempt, entry.attempt)
    message.world_size = entry.world_size
    message.hostname = entry.hostname
    message.pid = entry.pid
    message.has_siblings = entry.has_siblings
    message.relayed_by = entry.relayed_by
    message.per_rank = "" if entry.per_rank == "none" else entry.per_rank
    message.series = entry.series
    message.process_id = entry.process_id


def _joined_of(message: pb.Joined) -> Joined:
    return Joined(
        message.session,
        message.rank,
        _attempt_of(message.attempt),
        message.world_size,
        message.hostname,
        message.pid,
        message.has_siblings,
        message.relayed_by,
        message.per_rank or "none",
        message.series,
        message.process_id,
    )


def _fill_tags(message: pb.Tags, entry: Tags) -> None:
    message.SetInParent()  # also without any
    message.first = entry.first
    for tag in entry.tags:
        message.tags.add(name=tag.name, kind=tag.kind, reduce=tag.reduce)


def _tags_of(message: pb.Tags) -> Tags:
    tags = tuple(Tag(one.name, one.kind, one.reduce) for one in message.tags)
    for tag in tags:
        check_tag(tag)
    return Tags(message.first, tags)


def _fill_attempt(message: pb.Attempt, attempt: Attempt) -> None:
    message.SetInParent()
    message.epoch = attempt.epoch
    message.launch = attempt.launch
    message.number = attempt.number


def _attempt_of(message: pb.Attempt) -> Attempt:
    return Attempt(message.epoch, message.launch, message.number)


def _fill_state(message: pb.State, state: State) -> None:
    _fill_began(message.began, state.began)
    if state.attempt is not None:
        _fill_attempt(message.attempt, state.attempt)
    _fill_tags(message.tags, state.tags)
    for member in state.members:
        _fill_joined(message.members.add(), member)
    for name, number in state.numbers.items():
        message.numbers.add(name=name, number=number)
    for name, array in state.arrays.items():
        dtype = array.dtype.newbyteorder("<")
        data = array.astype(dtype, copy=False).tobytes()
        message.arrays.add(name=name, dtype=dtype.str, shape=array.shape, data=data)


def _state_of(message: pb.State) -> State:
    return State(
        _began_of(message.began),
        _attempt_of(message.attempt) if message.HasField("attempt") else None,
        _tags_of(message.tags),
        tuple(map(_joined_of, message.members)),
        {one.name: one.number for one in message.numbers},
        {one.name: _shaped(one) for one in message.arrays},
    )


def _shaped(message: pb.Array) -> npt.NDArray[Any]:
    if message.dtype not in _STATE_DTYPES:
        raise ValueError(f"array {message.name!r} has dtype {message.dtype!r}")
    array = _array(message.data, np.dtype(message.dtype)).reshape(tuple(message.shape))
    return array.copy()  # so that it may be written to


def _array(data: bytes, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    array = np.frombuffer(data, dtype)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _rows(data: bytes, dtype: np.dtype[Any], rows: int) -> npt.NDArray[Any]:
    """A column of ``rows`` rows. Raises ``ValueError`` if it has others."""
    array = _array(data, dtype)
    if len(array) == rows:
        return array
    if len(array) != 1:
        raise ValueError(f"a column of {len(array)} numbers for {rows} rows")
    return np.full(rows, array[0])
