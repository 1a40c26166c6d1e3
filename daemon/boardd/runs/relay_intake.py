"""Takes batches of other daemons to the groups that they belong to.

A run lies beneath the first logdir root here as it lies beneath its root there.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
from dataclasses import replace
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos import merging

from boardd.core.groups.entries import Dropped, Joined
from boardd.core.refusals import RefusedError
from boardd.core.runs import names
from boardd.core.runs.marks import session_key
from boardd.relay.relay import Batch, NotTakenError
from boardd.runs.directories.logdir import Roots
from boardd.runs.journal.journal_entries import JournalError
from boardd.runs.journal.relayed_entries import RelayedEntries, decode_relayed
from boardd.runs.run_table import RunTable
from boardd.runs.writing.group_work import RelayedWork

#: What later attempts must be able to exceed.
_MAX_EPOCH: Final = (1 << 63) - 1
_MAX_NUMBER: Final = (1 << 31) - 1


class RelayIntake:
    """Made and used on the event loop; the groups are those of ``table``."""

    def __init__(self, roots: Roots, table: RunTable) -> None:
        self._roots = roots
        self._table = table

    async def take(self, batch: Batch) -> int:
        """See ``relay.Take``."""
        loop = asyncio.get_running_loop()
        try:
            directory, works = await loop.run_in_executor(self._table.threads, self._read, batch)
            writer = self._table.group_at(directory)
        except RefusedError as error:
            raise NotTakenError(str(error)) from error
        except JournalError as error:
            raise NotTakenError(f"a batch that cannot be read: {error}") from error
        return await writer.relay(_with_own_id(batch), works)

    def _read(self, batch: Batch) -> tuple[str, list[RelayedWork]]:
        directory, told = read_batch(self._roots, batch)
        return directory, works_of(_with_own_id(batch), told)


def _with_own_id(batch: Batch) -> Batch:
    """Peers choose their ids. Made anew, none is that of a local session or of another peer's."""
    return replace(batch, producer=session_key(b"producer " + batch.producer))


def read_batch(roots: Roots, batch: Batch) -> tuple[str, RelayedEntries]:
    """The directory of the batch's run, links resolved, and its entries. Blocks on the disk.

    Raises ``RefusedError`` and ``JournalError``.
    """
    path = names.run_path(os.fspath(roots.paths[0]), batch.run)
    directory = os.fspath(roots.resolve(path))
    told = decode_relayed(batch.data)
    for joined in told.members.values():
        roots.resolve(_check_member(joined, directory))
    return directory, told


def works_of(batch: Batch, told: RelayedEntries) -> list[RelayedWork]:
    """The entries, with sessions and sources that are the producer's own."""
    keys = {session: session_key(batch.producer + session) for session in told.members}
    members = {
        session: replace(joined, session=keys[session], relayed_by=batch.producer)
        for session, joined in told.members.items()
    }
    works = []
    for number, entry in told.entries:
        asked = None
        if isinstance(entry, Dropped):
            entry = replace(entry, source=session_key(batch.producer + entry.source))
        else:
            asked = members.get(entry.session)
            entry = replace(entry, session=keys.get(entry.session, entry.session))
        works.append(RelayedWork(batch.producer, number, entry, asked, told.tags))
    return works


def _check_member(joined: Joined, directory: str) -> str:
    """Returns the directory of a member's rank, or ``directory`` if it keeps nothing.

    Raises ``RefusedError`` for a member that no daemon would tell of.
    """
    world, attempt = joined.world_size, joined.attempt
    if not (attempt.epoch <= _MAX_EPOCH and attempt.number <= _MAX_NUMBER):
        raise RefusedError(pb.INVALID_NAME, f"attempt {attempt}")
    is_rank = 0 <= joined.rank < world <= merging.MAX_WORLD_SIZE
    if not is_rank or joined.per_rank not in merging.PER_RANK:
        raise RefusedError(
            pb.INVALID_NAME,
            f"rank {joined.rank} of a world of {world}, per_rank {joined.per_rank!r}",
        )
    if joined.per_rank == "none":
        return directory
    # The rank's directory lies in the run's, and sub-runs beneath it as beneath the run.
    own = posixpath.normpath(posixpath.join(directory, joined.series))
    depth = joined.series.count("../")
    levels = directory.split("/")
    sub_run = levels[len(levels) - depth :]
    expected = "/".join([*levels[: len(levels) - depth], f"rank_{joined.rank}", *sub_run])
    if own != expected or depth >= len(levels):
        raise RefusedError(
            pb.OUTSIDE_ROOTS, f"{joined.series!r} is no directory of rank {joined.rank}"
        )
    return own
