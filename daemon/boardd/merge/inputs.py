"""Which directories hold the event files of which rank."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Final

from boardd.errors import ConfigError
from boardd.runs.event_files.event_file_names import EVENT_FILE_MARK

#: The directory of a rank beneath that of the run which all ranks share.
_RANK_DIRECTORY: Final = re.compile(r"rank_(0|[1-9][0-9]{0,8})", re.ASCII)
#: What the daemon writes beneath a merged run beside its ranks.
EXTREMES: Final = ("min", "max")


@dataclass
class GroupInputs:
    """What the ranks of one group logged: their directories of each run.

    ``runs`` leads from a run's path, relative to the group's, to its directory by rank. Runs
    come by name, ranks in ascending order.
    """

    path: PurePath
    ranks: list[int]
    runs: dict[PurePath, dict[int, Path]] = field(default_factory=dict)


def find_inputs(logdirs: Sequence[Path]) -> list[GroupInputs]:
    """Returns what is to be merged, by the paths that the merged runs will have.

    A logdir with directories ``rank_<r>`` at any depth holds those ranks; whatever lies
    beside them is passed over. Else each logdir is one rank, in the given order.

    Raises ``ConfigError`` if that is ambiguous, if there are fewer than two ranks in all
    groups, or if there is nothing to merge.
    """
    for logdir in logdirs:
        if not logdir.is_dir():
            raise ConfigError(f"{logdir}: no such directory; give directories of event files")
    _check_apart(logdirs)
    found = {logdir: dict(_rank_directories(logdir)) for logdir in logdirs}
    without = [logdir for logdir, ranks in found.items() if not ranks]
    if not without:
        groups = _groups_by_rank(found)
    elif len(without) < len(logdirs):
        raise ConfigError(
            f"{without[0]} has no directory rank_<r>, and {_first_other(logdirs, without)} has; "
            "give either directories that hold rank_0, rank_1, …, or one directory for each rank"
        )
    elif len(logdirs) == 1:
        raise ConfigError(
            f"{logdirs[0]} has no directory rank_<r>; give one directory for each rank, "
            "rank 0 first, or one that holds rank_0, rank_1, …"
        )
    else:
        groups = [_group(PurePath(), dict(enumerate(logdirs)))]
    groups = [group for group in groups if group.runs]
    if not groups:
        listed = ", ".join(map(str, logdirs))
        raise ConfigError(f"{listed}: no event files (their names contain {EVENT_FILE_MARK!r})")
    return groups


def event_files(directory: Path) -> list[Path]:
    """The event files in ``directory``, in the order in which TensorBoard reads them."""
    return sorted(
        Path(entry.path)
        for entry in os.scandir(directory)
        if EVENT_FILE_MARK in entry.name and entry.is_file()
    )


def _check_apart(logdirs: Sequence[Path]) -> None:
    resolved = [logdir.resolve() for logdir in logdirs]
    for number, path in enumerate(resolved):
        for other in resolved[number + 1 :]:
            if path == other or path in other.parents or other in path.parents:
                raise ConfigError(
                    f"{path} and {other} overlap; each rank is to be read once, so give "
                    "directories that lie apart"
                )


def _first_other(logdirs: Sequence[Path], without: Sequence[Path]) -> Path:
    return next(logdir for logdir in logdirs if logdir not in without)


def _rank_directories(logdir: Path) -> Iterator[tuple[PurePath, dict[int, Path]]]:
    """Yields the path of each group beneath ``logdir``, with its ranks' directories."""
    for directory, names, _ in _walk(logdir):
        ranks = {
            int(match[1]): directory / name
            for name in names
            if (match := _RANK_DIRECTORY.fullmatch(name)) is not None
        }
        if ranks:
            names[:] = [name for name in names if not _RANK_DIRECTORY.fullmatch(name)]
            yield PurePath(directory.relative_to(logdir)), ranks


def _groups_by_rank(
    found: dict[Path, dict[PurePath, dict[int, Path]]],
) -> list[GroupInputs]:
    merged: dict[PurePath, dict[int, Path]] = {}
    for groups in found.values():
        for path, ranks in groups.items():
            group = merged.setdefault(path, {})
            for rank, directory in ranks.items():
                if rank in group:
                    raise ConfigError(
                        f"{group[rank]} and {directory} are both rank {rank} of the run "
                        f"{str(path)!r}; merge them by themselves, or rename one"
                    )
                group[rank] = directory
    return [_group(path, merged[path]) for path in sorted(merged)]


def _group(path: PurePath, ranks: dict[int, Path]) -> GroupInputs:
    group = GroupInputs(path, sorted(ranks))
    runs: dict[PurePath, dict[int, Path]] = {}
    for rank in group.ranks:
        for directory, names, files in _walk(ranks[rank]):
            nested = next((name for name in names if _RANK_DIRECTORY.fullmatch(name)), None)
            if nested is not None:
                raise ConfigError(
                    f"{directory / nested} lies in the directory of rank {rank}; it is unclear "
                    "which rank logged it, so move it elsewhere"
                )
            if any(EVENT_FILE_MARK in name for name in files):
                run = PurePath(directory.relative_to(ranks[rank]))
                runs.setdefault(run, {})[rank] = directory
    for run in sorted(runs):
        if run.parts and run.parts[-1] in EXTREMES and run.parent in runs:
            raise ConfigError(
                f"{next(iter(runs[run].values()))}: a run of the name {run.parts[-1]!r} would "
                "take the place of the merged extremes; rename the directory"
            )
        group.runs[run] = runs[run]
    return group


def _walk(top: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """Yields directories, links followed, each with its directories and files by name."""
    seen: set[Path] = set()
    for root, names, files in os.walk(top, onerror=_refuse, followlinks=True):
        resolved = Path(root).resolve()
        if resolved in seen:
            names.clear()
            continue
        seen.add(resolved)
        # Hidden directories, such as the daemon's journals, hold no runs.
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield Path(root), names, files


def _refuse(error: OSError) -> None:
    """What cannot be read may be a rank's, without which every mean would be wrong."""
    try:
        raise error
    finally:
        del error  # its traceback names this frame
