from __future__ import annotations

import numpy as np
import pytest
from boardd.reduce.compiled import bits_of, entry


@pytest.mark.parametrize(
    ("value", "bits"),
    [
        (np.float32(1.0), 0x3F800000),
        (np.float32(-0.0), -(1 << 31)),
        (np.float64(1.0), 0x3FF0000000000000),
        (np.float64("-inf"), -0x10000000000000),
    ],
)
def test_bits_are_the_same_in_python_and_compiled(value: np.floating, bits: int) -> None:
    compiled = entry(_bits)
    assert int(bits_of(value)) == int(compiled(value)) == bits


def _bits(value):  # type: ignore[no-untyped-def]  # compiled
    return bits_of(value)
