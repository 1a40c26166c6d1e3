"""What a merge found and did, for people."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class RankReport:
    """What one rank's files had."""

    directory: Path
    values: int = 0
    last_step: int | None = None
    out_of_date: int = 0  #: values that a restart made so
    other_kind: int = 0  #: values under a tag that is another kind at a lower rank
    unreadable: int = 0  #: events or contents
    torn_bytes: int = 0  #: behind the last whole record of a file


@dataclass
class RunReport:
    """What one merged run was made of; ``path`` is relative to the output."""

    path: str
    ranks: dict[int, RankReport]
    points: int = 0
    #: By tag, the histograms whose edges did not agree.
    approximate: Counter[str] = field(default_factory=Counter)
    #: By tag, the contents of ranks that could not be read.
    left_out: Counter[str] = field(default_factory=Counter)

    def markdown(self) -> str:
        """The report as TensorBoard shows it."""
        lines = [
            "| rank | directory | values | last step | out of date | not read |",
            "|--:|---|--:|--:|--:|---|",
        ]
        for rank, one in sorted(self.ranks.items()):
            last = "" if one.last_step is None else one.last_step
            name = os.fsencode(one.directory).decode(errors="replace")
            directory = name.replace("|", "\\|")
            lines.append(
                f"| {rank} | {directory} | {one.values} | {last} | {one.out_of_date} "
                f"| {', '.join(_not_read(one))} |"
            )
        for tag, count in sorted(self.approximate.items()):
            lines += ["", f"`{tag}`: {_approximate(count)}"]
        return "\n".join(lines)

    def warnings(self) -> Iterator[str]:
        """What whoever merged should know, a line each."""
        where = f"run {self.path or '.'}"
        for rank, one in sorted(self.ranks.items()):
            if one.out_of_date:
                yield f"{where}: rank {rank}: {one.out_of_date} values out of date after a restart"
            for what in _not_read(one):
                yield f"{where}: rank {rank}: {what}"
        for tag, count in sorted(self.approximate.items()):
            yield f"{where}: tag {tag!r}: {_approximate(count)}"
        for tag, count in sorted(self.left_out.items()):
            yield f"{where}: tag {tag!r}: {count} contents of ranks could not be read"


def _approximate(count: int) -> str:
    return (
        f"{count} histograms are approximate, since the ranks' bucket edges differ "
        "(exact: the same edges on all ranks, or boardd's own files)"
    )


def _not_read(one: RankReport) -> Iterator[str]:
    if one.torn_bytes:
        yield f"{one.torn_bytes} bytes behind a torn or damaged record"
    if one.unreadable:
        yield f"{one.unreadable} unreadable events"
    if one.other_kind:
        yield f"{one.other_kind} values of another kind than their tag is at a lower rank"
