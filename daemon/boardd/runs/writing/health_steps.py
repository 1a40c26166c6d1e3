"""The health of a step's arrays, of which records tell in parts; and the first that is unsound.

Each array is shown with its own record, unless its name is too long for a tag. A group of
arrays is shown with the last record of the step, if all others came before it: a record that
was dropped, or written by an earlier daemon, leaves the step without.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from boardd_protos.tags import MAX_TAG_BYTES

from boardd.events.event_pb2 import Summary
from boardd.events.plugins import text_value
from boardd.events.values import scalar_value
from boardd.summaries.health import ArrayHealth, HealthPart

_logger = logging.getLogger(__name__)

#: Tags of a run whose steps are under way; the oldest gives way.
_MAX_TAGS: Final = 16
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


class HealthSteps:
    """Of one run; see the module. For one thread at a time, in the order of the records."""

    def __init__(self, run: str) -> None:
        self._run = run
        self._steps: OrderedDict[str, _Step] = OrderedDict()
        self._warning = ""

    def take(
        self, told: HealthPart, step: int, is_known: Callable[[bytes], bool]
    ) -> list[Summary.Value]:
        """Takes what a record at ``step`` tells; returns what is to be shown with it.

        ``is_known`` says whether the run has a tag already.
        """
        known = self._steps.pop(told.tag, None)
        if known is None or (known.step, known.parts) != (step, told.parts):
            known = _Step(step, told.parts)
        self._steps[told.tag] = known
        if len(self._steps) > _MAX_TAGS:
            self._steps.popitem(last=False)
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
        if len(known.seen) == known.parts:
            del self._steps[told.tag]
            values += self._of_groups(told.tag, known)
            if known.unsound and not is_known(f"{told.tag}{FIRST_SUFFIX}".encode()):
                values.append(self._first(told.tag, known))
        return values

    def take_warning(self) -> str:
        """Returns what is to be warned of since the last call; empty if there is nothing."""
        warning, self._warning = self._warning, ""
        return warning

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

    def _first(self, tag: str, known: _Step) -> Summary.Value:
        """The text of the first step with an unsound array; a warning says it as well."""
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
        return text_value(tag + FIRST_SUFFIX, text)
