from __future__ import annotations

import pytest
from boardd.relay.relay import Batch, position_after


@pytest.mark.parametrize(
    ("first", "oldest", "position", "expected"),
    [
        (0, 0, 0, 0),
        (5, 0, 5, 5),
        (2, 0, 5, 5),
        (6, 0, 5, None),
        (6, 5, 5, None),
        (6, 6, 5, 6),
    ],
)
def test_a_batch_goes_on_where_the_aggregator_is_unless_what_is_missing_is_gone(
    first: int, oldest: int, position: int, expected: int | None
) -> None:
    batch = Batch(b"p" * 16, "run", first, first + 10, oldest, b"")
    assert position_after(batch, position) == expected
