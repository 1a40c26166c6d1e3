"""Entries of one journal as another daemon takes them, and back.

With the entries go the tags and the members that they name, so that the other daemon
understands them whatever came before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from boardd.core.groups.entries import (
    SCALAR,
    Dropped,
    Entry,
    Joined,
    Left,
    Rewound,
    Scalars,
    Summary,
    Tag,
)
from boardd.core.runs.marks import KEY_BYTES
from boardd.runs.journal import journal_pb2 as pb
from boardd.runs.journal.journal_entries import (
    JournalError,
    check_tag,
    decode_entry,
    decode_joined,
    encode_joined,
    parse,
)

VERSION: Final = 1

#: What one daemon tells another; all else is its own business.
Relayed = Joined | Left | Scalars | Summary | Rewound | Dropped


@dataclass(frozen=True, eq=False)
class NumberedEntry:
    """An entry, its place in the journal, and the record's bytes as they lie there."""

    number: int
    entry: Entry
    data: bytes


@dataclass(frozen=True, eq=False)
class RelayedEntries:
    """Entries by their number in the journal they come from, and what they name."""

    tags: Mapping[int, Tag]
    members: Mapping[bytes, Joined]
    entries: Sequence[tuple[int, Relayed]]


def encode_relayed(
    entries: Sequence[NumberedEntry], tags: Sequence[Tag], members: Mapping[bytes, Joined]
) -> bytes:
    """Returns those of ``entries`` that are ``Relayed``.

    ``tags`` and ``members`` are all that the journal has told of by then. Raises
    ``JournalError`` for an entry that names others.
    """
    message = pb.RelayedEntries(version=VERSION)
    named: dict[int, None] = {}
    sessions: dict[bytes, None] = {}
    for numbered in entries:
        entry = numbered.entry
        if not isinstance(entry, Relayed):
            continue
        message.entries.add(number=numbered.number, entry=numbered.data)
        if not isinstance(entry, Dropped) and entry.session:
            sessions[entry.session] = None
        if isinstance(entry, Scalars):
            named.update(dict.fromkeys(entry.tag.tolist()))
        elif isinstance(entry, Summary):
            named[entry.tag] = None
    untold = [index for index in named if index >= len(tags)]
    if untold or not sessions.keys() <= members.keys():
        raise JournalError(f"entries of members or tags that are not told: {untold[:5]}")
    for index in named:
        tag = tags[index]
        told = message.tags.add(index=index)
        told.tag.name, told.tag.kind, told.tag.reduce = tag
    message.members.extend(encode_joined(members[session]) for session in sessions)
    return bytes(message.SerializeToString())


def decode_relayed(data: bytes) -> RelayedEntries:
    """Returns what ``encode_relayed`` got. Raises ``JournalError``, also for a newer version's."""
    message = pb.RelayedEntries()
    parse(message, data)
    if message.version != VERSION:
        raise JournalError(
            f"entries of version {message.version}, and this daemon reads {VERSION}: upgrade it"
        )
    tags = {one.index: Tag(one.tag.name, one.tag.kind, one.tag.reduce) for one in message.tags}
    for tag in tags.values():
        check_tag(tag)
    members = {one.session: decode_joined(one) for one in message.members}
    for session in members:
        if len(session) != KEY_BYTES:
            raise JournalError(f"a session of {len(session)} bytes; {KEY_BYTES} are taken")
    entries: list[tuple[int, Relayed]] = []
    for one in message.entries:
        entry = decode_entry(one.entry)
        if not isinstance(entry, Relayed):
            raise JournalError(f"an entry that is not passed on: {type(entry).__name__}")
        _check(entry, tags, members)
        if entries and one.number <= entries[-1][0]:
            raise JournalError(f"entry {one.number} comes behind entry {entries[-1][0]}")
        entries.append((one.number, entry))
    return RelayedEntries(tags, members, entries)


def _check(entry: Relayed, tags: Mapping[int, Tag], members: Mapping[bytes, Joined]) -> None:
    """Raises ``JournalError`` if an entry names what is not told."""
    if isinstance(entry, Dropped):
        return
    if entry.session not in members and not (isinstance(entry, Rewound) and not entry.session):
        raise JournalError("an entry of a member that is not told")
    if isinstance(entry, Scalars):
        missing = set(entry.tag.tolist()) - tags.keys()
    else:
        missing = {entry.tag} - tags.keys() if isinstance(entry, Summary) else set()
    if missing:
        raise JournalError(f"tags that are not told: {sorted(missing)[:5]}")
    named = entry.tag.tolist() if isinstance(entry, Scalars) else []
    named += [entry.tag] if isinstance(entry, Summary) else []
    for index in named:
        if (tags[index].kind == SCALAR) is not isinstance(entry, Scalars):
            raise JournalError(f"tag {tags[index].name!r} is of the kind {tags[index].kind!r}")
