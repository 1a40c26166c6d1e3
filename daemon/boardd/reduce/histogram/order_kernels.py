"""The compiled loops that find values by their place in the order of all.

Importing this loads numba. The values may change while they are read; see ``counting``.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from boardd.reduce.compiled import entry, inner

#: Cells that the upper 16 bits of a key tell apart.
CELLS: Final = 1 << 16
#: Count tables that neighbouring values take in turn, see ``counting``.
TABLES: Final = 4


@inner()
def _cell(own: Any, mask: Any, shift: Any, cell_shift: Any) -> Any:
    key = own ^ ((own >> shift) & mask)
    return np.uint16(np.int64(key >> cell_shift) + 0x8000)


@entry
def count_cells(
    bits: npt.NDArray[Any],
    mask: Any,
    shift: Any,
    cell_shift: Any,
    tables: npt.NDArray[np.uint32],
) -> None:
    """Adds to ``tables`` the number of values by the upper 16 bits of their keys.

    Args:
        bits: int32[n] or int64[n], the bits of floats.
        mask, shift: as for ``kernels.moments``.
        cell_shift: the number of bits less 16, of that integer type.
        tables: uint32[TABLES, CELLS]; their sum gets the counts, of the lowest cell first.
    """
    table0, table1, table2, table3 = tables[0], tables[1], tables[2], tables[3]
    one = np.uint32(1)
    whole = bits.size - bits.size % 4
    for index in range(0, whole, 4):
        table0[_cell(bits[index], mask, shift, cell_shift)] += one
        table1[_cell(bits[index + 1], mask, shift, cell_shift)] += one
        table2[_cell(bits[index + 2], mask, shift, cell_shift)] += one
        table3[_cell(bits[index + 3], mask, shift, cell_shift)] += one
    for index in range(whole, bits.size):
        table0[_cell(bits[index], mask, shift, cell_shift)] += one


@entry
def take_cells(
    bits: npt.NDArray[Any],
    mask: Any,
    shift: Any,
    lowest: Any,
    highest: Any,
    taken: npt.NDArray[Any],
) -> int:
    """Writes keys from ``lowest`` to ``highest`` to ``taken`` and returns how many there are.

    ``taken`` has room for one more than are kept. The other arguments are those of
    ``count_cells``.
    """
    count, last = np.uint64(0), np.uint64(taken.size - 1)
    for index in range(bits.size):
        key = bits[index] ^ ((bits[index] >> shift) & mask)
        # Every key is written, and the next one over it unless it counts: no branch to guess.
        taken[count] = key
        inside = np.uint64(key >= lowest) & np.uint64(key <= highest)
        count = min(count + inside, last)
    return int(count)
