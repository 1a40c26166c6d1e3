"""The threads that libraries start by themselves."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Final

#: The variables that the builds of BLAS which NumPy may come with read, once, when loaded.
_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def limit_libraries(environ: MutableMapping[str, str]) -> None:
    """Keeps a matrix product on the thread that asks for it, unless ``environ`` says otherwise.

    Otherwise each product would take all cores, whatever the daemon's own bound on
    threads. Call it before NumPy is imported.
    """
    # A user who set only the general variable means all of them.
    threads = environ.get("OMP_NUM_THREADS", "1")
    for name in _VARIABLES:
        environ.setdefault(name, threads)
