"""Names that users choose, made into tags and directories.

A run's directory is ``logdir[/name][/rank_<r> | /worker_<host>_<pid>]``, and a
sub-run's lies beneath it. What ranks log together is merged in the directory that they
share, which has a journal of its own. The directory is compared as text only: that it lies
beneath a root, symbolic links considered, is checked where it is opened.
"""

from __future__ import annotations

import posixpath
import re
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos import merging, tags
from boardd_protos.suffixes import suffix_obstacle
from boardd_protos.tags import MAX_NAME_BYTES, MAX_TAG_BYTES

from boardd.core.refusals import RefusedError

#: Bytes of a whole path; Linux's PATH_MAX is 4096 with room for the file's name.
MAX_PATH_BYTES: Final = 3800

#: How the ranks of a run may be merged.
REDUCTIONS: Final = frozenset(("", *merging.REDUCTIONS))
#: What a rank keeps in a directory of its own, beside what is merged.
PER_RANK: Final = frozenset(("", *merging.PER_RANK))
#: The directory of a group's journal, in the one that its ranks share.
JOURNAL_DIRECTORY: Final = ".boardd-group"

_INVALID_IN_HOST = re.compile(r"[^-\w.]", re.ASCII)


def shown_tag(tag: str, *, as_given: bool = False) -> str:
    """Returns ``tag`` as MXBoard writes it, see ``tags.clean``, or ``as_given``.

    Raises ``RefusedError`` when nothing is left, or more than
    ``MAX_TAG_BYTES`` bytes are.
    """
    cleaned = tag if as_given else tags.clean(tag)
    if not cleaned:
        raise RefusedError(pb.INVALID_NAME, f"tag {_shown(tag)} is empty once cleaned")
    size_bytes = len(cleaned.encode())
    if size_bytes > MAX_TAG_BYTES:
        raise RefusedError(
            pb.INVALID_NAME,
            f"tag {_shown(cleaned)} has {size_bytes} bytes; at most {MAX_TAG_BYTES} are taken",
        )
    return cleaned


def segments(name: str, what: str) -> list[str]:
    """Splits the relative path ``name`` into directory names; ``.`` and empty ones go.

    Raises ``RefusedError`` for ``..``, a NUL character, and a part of more
    than ``MAX_NAME_BYTES`` bytes.
    """
    parts = tags.segments(name)
    for part in parts:
        if part == "..":
            raise RefusedError(pb.OUTSIDE_ROOTS, f"{what} {_shown(name)} contains '..'")
        if "\0" in part:
            raise RefusedError(pb.INVALID_NAME, f"{what} {_shown(name)} contains a NUL character")
        if len(part.encode()) > MAX_NAME_BYTES:
            raise RefusedError(
                pb.INVALID_NAME,
                f"{what}: {_shown(part)} has {len(part.encode())} bytes; "
                f"at most {MAX_NAME_BYTES} are taken",
            )
    return parts


def run_path(logdir: str, name: str) -> str:
    """Returns the directory of run ``name`` in ``logdir``: all ranks' parent.

    Raises ``RefusedError`` as ``segments`` does.
    """
    return _checked(posixpath.join(logdir, *segments(name, "run")))


def rank_path(run: str, rank: int, world_size: int, hostname: str, pid: int) -> str:
    """Returns the directory in ``run`` that one process of a launch writes.

    ``rank`` is -1 and ``world_size`` 0 if they are not known. A launch of one process
    writes the run's own directory.

    Raises ``RefusedError`` when the rank is not below the world size, or that is too large.
    """
    if rank < -1 or (world_size > 0 and rank >= world_size):
        raise RefusedError(pb.INVALID_NAME, f"rank {rank} is not one of a world of {world_size}")
    if world_size > merging.MAX_WORLD_SIZE:
        raise RefusedError(
            pb.INVALID_NAME,
            f"a world of {world_size} ranks; a run has at most {merging.MAX_WORLD_SIZE}",
        )
    if world_size <= 1:
        return run
    if rank >= 0:
        return _checked(posixpath.join(run, f"rank_{rank}"))
    host = _INVALID_IN_HOST.sub("_", hostname)[:64] or "unknown"
    return _checked(posixpath.join(run, f"worker_{host}_{pid}"))


def is_merged(rank: int, world_size: int) -> bool:
    """Whether what a rank logs is merged with what the other ranks log."""
    return rank >= 0 and world_size > 1


def journal_path(group: str) -> str:
    """Returns the directory of the journal of the ranks that share ``group``.

    Raises ``RefusedError`` when it would be too long.
    """
    return _short_enough(posixpath.join(group, JOURNAL_DIRECTORY))


def sub_run_path(run: str, sub_run: str) -> str:
    """Returns the directory of ``sub_run`` beneath ``run``; ``run`` itself if it is empty.

    Raises ``RefusedError`` as ``segments`` does.
    """
    return _checked(posixpath.join(run, *segments(sub_run, "sub-run")))


def check_suffix(suffix: str) -> str:
    """Returns the file name suffix. Raises ``RefusedError`` as ``suffixes`` says."""
    obstacle = suffix_obstacle(suffix)
    if obstacle:
        raise RefusedError(pb.INVALID_NAME, obstacle)
    return suffix


def check_reduce(reduce: str) -> str:
    """Returns ``reduce``. Raises ``RefusedError`` for one that is not in ``REDUCTIONS``."""
    if reduce not in REDUCTIONS:
        raise RefusedError(
            pb.UNSUPPORTED,
            f"reduce {_shown(reduce)} is none of {', '.join(sorted(REDUCTIONS - {''}))}",
        )
    return reduce


def per_rank_of(message: pb.RunDefinition) -> str:
    """Returns what a rank keeps.

    Nothing said is ``scalars``, or ``all`` without a process: clients of 0.1.0 say neither, and
    expect all that a rank logs in its own directory.

    Raises ``RefusedError`` for what is not in ``PER_RANK``.
    """
    per_rank = message.per_rank
    if per_rank not in PER_RANK:
        raise RefusedError(
            pb.UNSUPPORTED,
            f"per_rank {_shown(per_rank)} is none of {', '.join(sorted(PER_RANK - {''}))}",
        )
    return per_rank or ("scalars" if message.process_id else "all")


def _checked(path: str) -> str:
    if JOURNAL_DIRECTORY in path.split("/"):
        raise RefusedError(
            pb.INVALID_NAME,
            f"path {_shown(path)} leads into {JOURNAL_DIRECTORY!r}, which the daemon keeps for "
            "itself; use another name",
        )
    return _short_enough(path)


def _short_enough(path: str) -> str:
    if len(path.encode()) > MAX_PATH_BYTES:
        raise RefusedError(
            pb.INVALID_NAME,
            f"path {_shown(path)} has {len(path.encode())} bytes; "
            f"at most {MAX_PATH_BYTES} are taken",
        )
    return path


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 80 else f"{text[:60]!r}..."
