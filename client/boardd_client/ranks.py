"""Which worker this process is, and of how many: from arguments or the environment.

The first source that is set wins: boardd's own variables, then the launchers that
start the training processes themselves, then resource managers, whose variables
the launchers inherit:

================  ==========================================================
``boardd``        ``BOARDD_RANK``, ``BOARDD_WORLD_SIZE``
``torchrun``      ``RANK``, ``WORLD_SIZE``, beside one of torchrun's own, since the
                  two names alone are used for many things
``horovod``       ``HOROVOD_RANK``, ``HOROVOD_SIZE``
``dmlc``          ``DMLC_NUM_WORKER``, and ``DMLC_WORKER_ID``, ``DMLC_TASK_ID`` or
                  ``DMLC_RANK``, if ``DMLC_ROLE`` is ``worker``
``jax``           ``JAX_PROCESS_ID``, ``JAX_NUM_PROCESSES``
``open mpi``      ``OMPI_COMM_WORLD_RANK``, ``OMPI_COMM_WORLD_SIZE``
``pmi``           ``PMI_RANK``, ``PMI_SIZE`` (MPICH, Intel MPI)
``slurm``         ``SLURM_PROCID``, ``SLURM_STEP_NUM_TASKS``
================  ==========================================================

MXNet's launcher may leave it to the parameter server to number the workers. A
worker's rank is then taken from a resource manager that started the same number of
tasks; else it stays unknown.

``SLURM_NTASKS`` is not used: in a batch script and in a shell of ``salloc`` it
is the size of the allocation, though one process runs, with ``SLURM_PROCID=0``.
``SLURM_STEP_NUM_TASKS`` is set by ``srun`` alone, for the step that it starts.
"""

from __future__ import annotations

import logging
import operator
from collections.abc import Mapping
from typing import Final, NamedTuple, SupportsIndex

_logger = logging.getLogger("boardd_client")

#: More workers than any job has: a larger number is no world size.
MAX_WORLD_SIZE: Final = 2**31 - 1


class Ranks(NamedTuple):
    """A worker's place among its peers.

    ``rank`` and ``world_size`` are None if they are not known; a process
    that nothing launched as one of several knows neither. ``source`` is
    ``arguments``, one of the names above, or ``none``.
    """

    rank: int | None
    world_size: int | None
    source: str


class _Source(NamedTuple):
    name: str
    rank: tuple[str, ...]
    world_size: str
    #: One of these must be set too.
    marks: tuple[str, ...] = ()


_SOURCES: Final = (
    _Source("boardd", ("BOARDD_RANK",), "BOARDD_WORLD_SIZE"),
    _Source(
        "torchrun",
        ("RANK",),
        "WORLD_SIZE",
        marks=("LOCAL_RANK", "TORCHELASTIC_RUN_ID", "GROUP_RANK", "MASTER_ADDR"),
    ),
    _Source("horovod", ("HOROVOD_RANK",), "HOROVOD_SIZE"),
    _Source("dmlc", ("DMLC_WORKER_ID", "DMLC_TASK_ID", "DMLC_RANK"), "DMLC_NUM_WORKER"),
    _Source("jax", ("JAX_PROCESS_ID",), "JAX_NUM_PROCESSES"),
    _Source("open mpi", ("OMPI_COMM_WORLD_RANK",), "OMPI_COMM_WORLD_SIZE"),
    _Source("pmi", ("PMI_RANK",), "PMI_SIZE"),
    _Source("slurm", ("SLURM_PROCID",), "SLURM_STEP_NUM_TASKS"),
)

_NOTHING: Final = Ranks(None, None, "none")

_warned: set[tuple[str, str]] = set()


def detect(environ: Mapping[str, str]) -> Ranks:
    """Returns what ``environ`` says; never raises.

    Variables that contradict each other or are no numbers are passed over,
    with one warning for each.
    """
    unnumbered = _NOTHING
    for source in _SOURCES:
        found = _from_source(source, environ)
        if found is None:
            continue
        if unnumbered is _NOTHING:
            if found.rank is not None:
                return found
            unnumbered = found
        elif found.rank is not None and found.world_size == unnumbered.world_size:
            return Ranks(found.rank, found.world_size, unnumbered.source)
    return unnumbered


def resolve(rank: object, world_size: object, environ: Mapping[str, str]) -> Ranks:
    """Returns the explicit ``rank`` and ``world_size``, completed from ``environ``.

    Args:
        rank: 0 to ``world_size`` - 1, or None.
        world_size: 1 or more, or None. Given without ``rank``, the rank is that of
            ``environ`` if its world size is the same, 0 if it is 1, and else unknown.
        environ: the environment, for what is None.

    Raises:
        TypeError: not an integer.
        ValueError: out of range, or a ``rank`` whose world size is nowhere given.
    """
    given_rank = _argument(rank, "rank", 0)
    given_world_size = _argument(world_size, "world_size", 1)
    if given_rank is None and given_world_size is None:
        return detect(environ)
    if given_world_size is None:
        given_world_size = detect(environ).world_size
        if given_world_size is None:
            raise ValueError(f"rank={given_rank} needs world_size, the number of workers")
    if given_rank is None:
        detected = detect(environ)
        if detected.world_size == given_world_size:
            given_rank = detected.rank
        elif given_world_size == 1:
            given_rank = 0
    elif given_rank >= given_world_size:
        raise ValueError(
            f"rank={given_rank} is not below world_size={given_world_size}; ranks start at 0"
        )
    return Ranks(given_rank, given_world_size, "arguments")


def _from_source(source: _Source, environ: Mapping[str, str]) -> Ranks | None:
    """What ``source`` says in ``environ``; None if it says nothing or nonsense."""
    if source.name == "dmlc" and environ.get("DMLC_ROLE", "worker") != "worker":
        return None
    if source.marks and not any(environ.get(mark) for mark in source.marks):
        return None
    size_text = environ.get(source.world_size, "")
    name = next((name for name in source.rank if environ.get(name)), source.rank[0])
    rank_text = environ.get(name, "")
    if not size_text:
        # A rank alone says nothing; boardd's own is an oversight worth a word.
        if rank_text and source.name == "boardd":
            _warn(name, rank_text, f"{source.world_size} is not set")
        return None
    world_size = _number(size_text)
    if world_size is None or not 1 <= world_size <= MAX_WORLD_SIZE:
        _warn(source.world_size, size_text, "expected the number of workers")
        return None
    if not rank_text:
        # With a world size alone, only these two still mean a job of several workers.
        known = source.name in ("boardd", "dmlc")
        return Ranks(0 if world_size == 1 else None, world_size, source.name) if known else None
    rank = _number(rank_text)
    if rank is None or rank >= world_size:
        _warn(name, rank_text, f"expected a rank below {source.world_size}={world_size}")
        # The number of workers still holds: better rank unknown than one run for all.
        return Ranks(0 if world_size == 1 else None, world_size, source.name)
    return Ranks(rank, world_size, source.name)


def _number(text: str) -> int | None:
    # Ten digits hold MAX_WORLD_SIZE; int() of endless digits would raise.
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


def _warn(name: str, text: str, reason: str) -> None:
    if (name, text) not in _warned:
        _warned.add((name, text))
        _logger.warning("ignoring %s=%r: %s", name, text[:100], reason)


def _argument(value: object, name: str, least: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}, expected an int")
    number = operator.index(value)
    if not least <= number <= MAX_WORLD_SIZE:
        raise ValueError(f"{name}={number} is out of range, expected {least} or more")
    return number
