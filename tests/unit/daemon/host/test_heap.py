"""What a daemon gives back when it has nothing to do: and that it works on afterwards."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys

import numpy as np
from boardd.host import heap

PROGRAM = """
import gc
import numpy as np
from boardd.host import heap
from boardd.reduce.histogram.bins import EqualWidth
from boardd.reduce.histogram.histogram import histogram

def resident(name):
    total, inside = 0, False
    for line in open("/proc/self/smaps"):
        if line[:1].islower() or line[:1].isdigit():
            inside = name in line
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total

heap.limit_heaps()
histogram(np.ones(4), EqualWidth(2))

class Loop:
    pass

loop = Loop()
loop.itself, loop.data = loop, np.ones(1 << 20)
gc.disable()
import weakref
gone = weakref.ref(loop)
del loop
before = resident("libllvmlite")
heap.give_back()
after = resident("libllvmlite")
assert gone() is None
assert before > 0 and after < before / 2, (before, after)
values = np.arange(100_000, dtype=np.float32)
for bins in (10, 20):
    assert histogram(values, EqualWidth(bins)).counts.tolist() == [100_000 // bins] * bins
# What is compiled anew finds the compiler whole.
assert histogram(values.astype(np.float64).astype(np.int16), EqualWidth(2)).num == 100_000
import numba
assert numba.njit(lambda a, b: a * b)(6, 7) == 42
print("whole")
"""


def test_memory_is_given_back_and_all_works_on():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout == "whole\n", done.stderr


def test_what_clients_share_is_not_the_daemons_own():
    before = heap.own_bytes()
    shared = os.memfd_create("shared")
    try:
        os.ftruncate(shared, 32 << 20)
        with mmap.mmap(shared, 32 << 20) as view:
            view[:: mmap.PAGESIZE] = bytes(len(view) // mmap.PAGESIZE)
            assert heap.own_bytes() - before < 8 << 20
    finally:
        os.close(shared)
    own = np.ones(32 << 20, np.uint8)
    assert heap.own_bytes() - before >= len(own)


def test_growth_is_given_back_once():
    keeping = heap.Keeping()
    assert not keeping.give_back_growth()
    kept = np.ones(32 << 20, np.uint8)
    assert keeping.give_back_growth()
    assert not keeping.give_back_growth()
    assert kept[-1] == 1


def test_a_c_library_without_a_function_is_left_alone() -> None:
    assert heap._libc("no_such_function")(1) is None
