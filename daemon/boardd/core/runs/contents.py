"""What the event files of one run hold, as far as this daemon has written them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from boardd.core.runs.kinds import TagKinds
from boardd.core.runs.steps import StepMonitor


@dataclass(eq=False)
class RunContents:
    """The kinds and steps of a run's tags, in the order in which records are written.

    Read and written by the thread that encodes for the run. There is one at a time,
    and the event loop waits for it, so it may read this between two encodings.
    """

    kinds: TagKinds = field(default_factory=TagKinds)
    steps: StepMonitor = field(default_factory=StepMonitor)
    #: That of the last writer which purged the run; 0 if none did.
    epoch: int = 0
    #: The step at which the run last told of what clients dropped.
    dropped_step: int = np.iinfo(np.int64).min
