"""The health of a step's arrays, of which records tell in parts; and the first that is unsound.

Each array is shown with its own record, unless its name is too long for a tag. A group of
arrays is shown with the last record of the step, if all others came before it: a record that
was dropped or refused, or written by an earlier daemon, leaves the step without. What is
unsound is told all the same: with the last record of the step, or once it is clear that this
does not come.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from boardd_protos.tags import MAX_TAG_BYTES

from boardd.core.runs.contents import RunContents
from boardd.events.event_pb2 import Summary
from boardd.events.plugins import text_value
from boardd.events.values import scalar_value
from boardd.summaries.health import ArrayHealth, HealthPart

_logger = logging.getLogger(__name__)

#: Steps that are under way in a run, one for each session and tag; the oldest gives way.
_MAX_STEPS: Final = 64
#: Unsound arrays that are named.
_MAX_NAMED: Final = 10
#: Appended to the tag: the text that says where the first NaN or infinity was.
FIRST_SUFFIX: Final = "/first_nan"


@dataclass
class _Step:
    """What is known of one step."""

    step: int
    parts: int
    seen: set[int] = field(default_factory=set)
    groups: dict[str, ArrayHealth] = field(default_factory=dict)
    #: Arrays that are not finite: the group of each, and what is wrong with it.
    unsound: list[tuple[str, str]] = field(default_factory=list)

    def awaits(self, told: HealthPart, step: int) -> bool:
        """Whether ``told``, at ``step``, is one of the parts that are still to come."""
        return (self.step, self.parts) == (step, told.parts) and told.part not in self.seen


class HealthSteps:
    """Of one run; see the module. For one thread at a time, in the order of the records.

    ``contents`` are the run's: what was told before.
    """

    def __init__(self, run: str, contents: RunContents) -> None:
        self._run = run
        self._contents = contents
        self._steps: OrderedDict[tuple[bytes, str], _Step] = OrderedDict()
        self._warning = ""

    def take(self, told: HealthPart, session: bytes, step: int) -> list[Summary.Value]:
        """Takes what a session's record at ``step`` tells; returns what is shown with it."""
        values = []
        key = session, told.tag
        known = self._steps.pop(key, None)
        if known is None or not known.awaits(told, step):
            if known is not None:
                values += self._first(told.tag, known, step)
            known = _Step(step, told.parts)
        values += self._of_arrays(told, known)
        if told.part == known.parts - 1:  # whatever is missing came before
            if len(known.seen) == known.parts:
                values += self._of_groups(told.tag, known)
            return values + self._first(told.tag, known, step)
        self._steps[key] = known
        if len(self._steps) > _MAX_STEPS:
            (_, tag), oldest = self._steps.popitem(last=False)
            values += self._first(tag, oldest, step)
        return values

    def end(self, session: bytes) -> dict[int, list[Summary.Value]]:
        """Returns, by step, what is still to be told of a session that logs no more."""
        rest: dict[int, list[Summary.Value]] = {}
        for key in [key for key in self._steps if key[0] == session]:
            known = self._steps.pop(key)
            if values := self._first(key[1], known, known.step):
                rest.setdefault(known.step, []).extend(values)
        return rest

    def forget(self) -> None:
        """Forgets the steps under way: another writer took the run over."""
        self._steps.clear()

    def take_warning(self) -> str:
        """Returns what is to be warned of since the last call; empty if there is nothing."""
        warning, self._warning = self._warning, ""
        return warning

    def _of_arrays(self, told: HealthPart, known: _Step) -> list[Summary.Value]:
        known.seen.add(told.part)
        values = []
        for group, name, health in told.arrays:
            known.groups[group] = known.groups.get(group, ArrayHealth()) + health
            if not health.is_finite:
                wrong = f"{health.nans:,} NaN and {health.infinities:,} infinite"
                text = f"`{group}/{name}`: {wrong} of {health.count:,} elements"
                known.unsound.append((group, text))
            norm = f"{told.tag}/{group}/log10_norm/{name}"  # the longest of its tags
            if len(norm.encode()) <= MAX_TAG_BYTES:
                if health.has_finite:
                    values.append(scalar_value(norm, health.log10_norm))
                zeros = f"{told.tag}/{group}/zeros/{name}"
                values.append(scalar_value(zeros, health.zero_share))
        return values

    def _of_groups(self, tag: str, known: _Step) -> list[Summary.Value]:
        values = []
        for group, health in known.groups.items():
            if health.has_finite:
                values.append(scalar_value(f"{tag}/{group}/norm", health.norm))
                values.append(scalar_value(f"{tag}/{group}/log10_norm", health.log10_norm))
            values += [
                scalar_value(f"{tag}/{group}/zeros", health.zero_share),
                scalar_value(f"{tag}/{group}/nan", health.nans),
                scalar_value(f"{tag}/{group}/infinite", health.infinities),
            ]
        return values

    def _first(self, tag: str, known: _Step, shown_step: int) -> list[Summary.Value]:
        """The text of the run's first step with an unsound array; a warning says it as well.

        Nothing if the step has none, or an earlier one was told. ``shown_step`` is that of the
        event that will hold the text.
        """
        name = tag + FIRST_SUFFIX
        told_once = self._contents.told_once
        is_known = self._contents.kinds.is_known(name.encode())
        if not known.unsound or told_once.stands(name, is_known=is_known):
            return []
        told_once.note(name, shown_step)
        # Gradients first: the parameters of a step come of them.
        unsound = [text for _, text in sorted(known.unsound, key=lambda one: one[0])]
        self._warning = (
            f"run {self._run}: the first NaN or infinity is at step {known.step} in "
            + unsound[0].replace("`", "")
        )
        _logger.warning("%s", self._warning)
        lines = [f"- {line}" for line in unsound[:_MAX_NAMED]]
        if len(unsound) > _MAX_NAMED:
            lines.append(f"- and {len(unsound) - _MAX_NAMED:,} arrays more")
        text = f"The first NaN or infinity is at step {known.step:,}:\n\n" + "\n".join(lines)
        return [text_value(name, text)]
