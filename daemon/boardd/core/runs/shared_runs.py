"""Runs that two processes log to without knowing of each other: both are to be told.

Processes that share a run on purpose are not: ranks of one launch, writers that were forked or
unpickled, and those that were given the same epoch. Neither are a writer and the one that it
supersedes, since the daemon rejects what the older one logs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from boardd.core.runs.names import is_merged
from boardd.core.runs.run_state import NO_PROCESS, Member, RunState


class SharedRun(NamedTuple):
    """The session ``told`` is to hear that ``other`` logs to the run at ``path``, too."""

    path: str
    told: bytes
    other: bytes


def newly_shared(
    run: RunState, session_id: bytes, is_absent: Callable[[bytes], bool]
) -> list[SharedRun]:
    """Whom to tell of whom, now that ``session_id`` has joined ``run``.

    A session hears of a run once. Those that ended the run, and those whose client
    ``is_absent``, log to it no more. A curve is its run's, of which is told.
    """
    if run.contents.curve_levels or is_absent(session_id):
        return []
    logging = [(holder[0], run.members[holder]) for holder in run.members if holder in run.holders]
    own = [member for key, member in logging if key == session_id]
    if not own or not _may_collide(own[-1]):
        return []
    others = dict.fromkeys(key for key, member in logging if _collide(own[-1], member))
    others.pop(session_id, None)
    present = [key for key in others if not is_absent(key)]
    if not present:
        return []
    pairs = [(session_id, present[0]), *((other, session_id) for other in present)]
    return [
        SharedRun(run.path, told, other) for told, other in pairs if run.members.tell_shared(told)
    ]


def sharing_text(path: str, program: str, pid: int, hostname: str) -> str:
    """What a session is told: the run at ``path`` is another process's as well."""
    return (
        f"run {path}: another process logs to it as well: {program or 'a program'}, pid {pid} on "
        f"{hostname or 'an unknown host'}; what both log under one tag becomes one curve. Give "
        "each process its own run=, or rank= and world_size= to merge what they log, or "
        "purge_step= to the one that takes the run over after a restart"
    )


def _may_collide(member: Member) -> bool:
    return not (
        member.has_siblings
        or member.process == NO_PROCESS
        or is_merged(member.rank, member.world_size)
    )


def _collide(member: Member, other: Member) -> bool:
    if not _may_collide(other) or _are_one_process(member, other):
        return False
    if not (member.epoch and other.epoch):
        return True
    if member.epoch == other.epoch:
        return False
    newer = member if member.epoch > other.epoch else other
    return not newer.purges


def _are_one_process(member: Member, other: Member) -> bool:
    one, two = member.process, other.process
    if one.process_id and two.process_id:
        return one.process_id == two.process_id
    return (one.hostname, one.pid) == (two.hostname, two.pid)
