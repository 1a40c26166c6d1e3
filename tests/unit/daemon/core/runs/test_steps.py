"""What is known of the steps that were written."""

from __future__ import annotations

import numpy as np
from boardd.core.runs.steps import StepMonitor
from hypothesis import given
from hypothesis import strategies as st


def test_the_highest_step_is_that_of_any_tag() -> None:
    monitor = StepMonitor()
    assert monitor.highest is None
    monitor.observe_one(3, 7)
    monitor.observe_one(20, -2)
    assert monitor.highest == 7
    monitor.rewind(5)
    assert monitor.highest == 4


#: Tags of one step each, as ranks log them: arrays that never change, and others.
_TAGS = [np.array(tags, np.intp) for tags in ([0, 1, 2], [1, 2], [0, 40], [2])]
for _tags in _TAGS[:3]:
    _tags.flags.writeable = False


@given(
    st.lists(
        st.tuples(st.sampled_from(range(len(_TAGS))), st.integers(-3, 4), st.booleans()),
        max_size=12,
    )
)
def test_each_step_below_an_earlier_one_of_its_tag_is_counted(
    actions: list[tuple[int, int, bool]],
) -> None:
    monitor, highest, backwards = StepMonitor(), dict[int, int](), 0
    for which, step, is_rewind in actions:
        if is_rewind:
            monitor.rewind(step)
            highest = {tag: min(known, step - 1) for tag, known in highest.items()}
            continue
        tags = _TAGS[which]
        if len(tags) == 1:
            monitor.observe_one(int(tags[0]), step)
        else:
            monitor.observe(tags, np.full(len(tags), step))
        for tag in tags.tolist():
            backwards += step < highest.get(tag, step)
            highest[tag] = max(step, highest.get(tag, step))
    assert monitor.backwards == backwards
    assert monitor.highest == max(highest.values(), default=None)
