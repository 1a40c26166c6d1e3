"""What the event files of one run hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from boardd.core.runs.kinds import TagKinds
from boardd.core.runs.marks import Marks
from boardd.core.runs.steps import StepMonitor
from boardd.core.runs.told_once import ToldOnce

#: Below every step of a record.
NO_STEP = int(np.iinfo(np.int64).min)

#: What the mean is called, which is shown if nothing is said.
_MEAN = ("", "mean")


@dataclass(eq=False)
class RunContents:
    """What is written of a run, in the order in which records are written.

    Begins with what its event files say when its directory is opened. Read and written
    by the thread that encodes for the run. There is one at a time, and the event loop
    waits for it, so it may read this between two encodings.
    """

    kinds: TagKinds = field(default_factory=TagKinds)
    #: As far as this daemon has written them.
    steps: StepMonitor = field(default_factory=StepMonitor)
    marks: Marks = field(default_factory=Marks)
    #: As far as this daemon has told it.
    told_once: ToldOnce = field(default_factory=ToldOnce)
    #: The step at which the run last told of what clients dropped.
    dropped_step: int = NO_STEP
    #: Of the writer that last took the run over. Who raises it writes at least one event in
    #: the same append; until that is whole in the file, ``written_epoch`` stays behind.
    epoch: int = 0
    written_epoch: int = 0
    #: The run is a curve of the one in the directory so many levels above it; 0: of none.
    curve_levels: int = 0
    #: Of a rank's own run: how ranks merge each tag, if not by the mean.
    reductions: dict[bytes, str] = field(default_factory=dict)
    #: Of a group: contributions of other hosts that were left out, by their tag, which is
    #: another kind here.
    kind_conflicts: dict[bytes, int] = field(default_factory=dict)
    #: Called before each append. Raises ``RefusedError`` if another daemon writes the run by now,
    #: and ``OSError``.
    check_own: Callable[[], None] = lambda: None
    _known_tags: int = field(default=0, init=False)

    def rewind(self, step: int) -> None:
        """Notes that what was written at ``step`` and later is out of date."""
        self.steps.rewind(step)
        self.told_once.rewind(step)

    def take_reductions(self, tags: Sequence[bytes], reductions: Sequence[str]) -> None:
        """Takes how ranks merge the tags of the run, which only grow in number."""
        known = len(reductions)
        for index in range(self._known_tags, known):
            if reductions[index] not in _MEAN:
                self.reductions[tags[index]] = reductions[index]
        self._known_tags = known
