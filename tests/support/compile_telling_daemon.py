"""A daemon that tells what it compiles: ``python -m support.compile_telling_daemon``.

It prints a line for each kernel that it has not found in numba's cache. LLVM takes its processor
for one of another kind.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import llvmlite.binding
from boardd.cli import main
from numba.core import event

#: Not what any machine's processor is called that has all that it needs.
OTHER_PROCESSOR = "haswell"


class Telling(event.Listener):  # type: ignore[misc]  # numba has no types
    """Hears of each function before it is compiled."""

    def on_start(self, event: Any) -> None:
        """Prints its name and the types of its arguments."""
        function = event.data["dispatcher"].py_func
        print(f"compiles {function.__qualname__}{event.data['args']}", file=sys.stderr, flush=True)

    def on_end(self, event: Any) -> None:
        """Nothing is left to say."""


if __name__ == "__main__":
    llvmlite.binding.get_host_cpu_name = lambda: OTHER_PROCESSOR
    event.register("numba:compile", Telling())
    importlib.import_module("boardd.reduce.compiled")  # so that kernels are not awaited
    sys.exit(main())
