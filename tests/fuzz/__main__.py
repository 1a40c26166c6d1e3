"""Runs targets under atheris, a coverage-guided fuzzer: ``python -m fuzz [NAME ...]``.

Each target runs in a process of its own, from its seeds in ``corpus`` and from what earlier
runs have found. Exits with 1 if a target met a defect; the input is kept, and named.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from pathlib import Path
from typing import Final

import atheris

#: Of an input.
_MAX_BYTES: Final = 4096
#: What one input may take, numba's compiling included, and what the process may hold.
_TIMEOUT_SECS: Final = 60
_MAX_RESIDENT_MIB: Final = 1024
#: Numba compiles what these say, and must see it as it is.
_COMPILED: Final = (
    "boardd.events.kinds_kernel",
    "boardd.events.scalars_kernel",
    "boardd.events.scan_kernel",
    "boardd.reduce.compiled",
    "boardd.reduce.histogram.exact_kernels",
    "boardd.reduce.histogram.grid_kernels",
    "boardd.reduce.histogram.grid_many_kernels",
    "boardd.reduce.histogram.kernels",
    "boardd.reduce.histogram.order_kernels",
)


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="targets; default: all")
    parser.add_argument("--secs", type=int, default=60, help="of all targets together")
    parser.add_argument("--runs", type=int, default=-1, help="inputs of each target")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations; 0: of the time")
    parser.add_argument("--found", type=Path, default=Path(".fuzz"), help="what runs have found")
    options = parser.parse_args()
    with atheris.instrument_imports(include=["boardd", "boardd_protos"], exclude=_COMPILED):
        from fuzz.scratch import scratch
        from fuzz.targets import TARGETS
    scratch()  # before the forks, so that this process removes it
    for module in _COMPILED:
        importlib.import_module(module)
    names = options.names or list(TARGETS)
    failed = [name for name in names if _status(name, options, options.secs // len(names))]
    if failed:
        print(f"defects: {', '.join(failed)}; inputs in {options.found}", file=sys.stderr)
    return 1 if failed else 0


def _status(name: str, options: argparse.Namespace, secs: int) -> int:
    """Runs one target in a child; returns how that left."""
    child = os.fork()
    if child == 0:
        _fuzz(name, options, secs)
    _, status = os.waitpid(child, 0)
    return status


def _fuzz(name: str, options: argparse.Namespace, secs: int) -> None:
    from fuzz.targets import CORPUS, TARGETS

    print(f"== {name}", file=sys.stderr, flush=True)
    logging.getLogger("boardd").addHandler(logging.NullHandler())
    logging.getLogger("boardd").propagate = False
    found = options.found / name
    found.mkdir(parents=True, exist_ok=True)
    seeds = CORPUS / name
    arguments = [
        "fuzz",
        f"-max_total_time={max(1, secs)}",
        f"-runs={options.runs}",
        f"-seed={options.seed}",
        f"-max_len={_MAX_BYTES}",
        f"-timeout={_TIMEOUT_SECS}",
        f"-rss_limit_mb={_MAX_RESIDENT_MIB}",
        f"-artifact_prefix={options.found}/{name}-",
        "-print_final_stats=1",
        str(found),
        *([str(seeds)] if seeds.is_dir() else []),
    ]
    atheris.Setup(arguments, TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
