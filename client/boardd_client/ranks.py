"""Which worker this process is, of how many, and of which launch.

From arguments or the environment. The first source that is set wins: boardd's own
variables, then the launchers that start the training processes themselves, then resource
managers, whose variables the launchers inherit:

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

Last, ``torch.distributed``: the default process group of this process, if there is one when
the writer is made. A process of ``torch.multiprocessing.spawn`` of which nothing says a
rank is warned of, since all of them would write to one run.

MXNet's launcher may leave it to the parameter server to number the workers. A
worker's rank is then taken from a resource manager that started the same number of
tasks; else it stays unknown.

``SLURM_NTASKS`` is not used: in a batch script and in a shell of ``salloc`` it
is the size of the allocation, though one process runs, with ``SLURM_PROCID=0``.
``SLURM_STEP_NUM_TASKS`` is set by ``srun`` alone, for the step that it starts.

The identity of the launch must be the same for all of its ranks, or they would
supersede each other. So it comes from the source of the rank, and from no other that
some ranks may see and others not; last from where the ranks meet, ``MASTER_ADDR`` and
``MASTER_PORT``. It ends with the world size, because an elastic launch that changes in
size begins anew without counting that as a restart.

Restarts are counted only if all ranks agree on the count. torchrun has one agent for each
node, each with a count of its own: it holds if one agent started all ranks.
``DMLC_NUM_ATTEMPT`` counts the tries of one worker.
"""

from __future__ import annotations

import logging
import multiprocessing
import operator
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple, SupportsIndex

from boardd_protos.merging import MAX_LAUNCH_BYTES, MAX_WORLD_SIZE

_logger = logging.getLogger("boardd_client")

#: More restarts than any launch has.
_MAX_ATTEMPT: Final = 2**31 - 1


class Ranks(NamedTuple):
    """A worker's place among its peers.

    ``rank`` and ``world_size`` are None if they are not known; a process
    that nothing launched as one of several knows neither. ``source`` is
    ``arguments``, one of the names above, ``torch.distributed``, or ``none``. ``launch`` is
    the identity of the launch, empty if it has none, and ``attempt`` how often that was
    restarted.
    """

    rank: int | None
    world_size: int | None
    source: str
    launch: str = ""
    attempt: int = 0

    @property
    def is_one_of_several(self) -> bool:
        """Whether what it logs is merged with what others log."""
        return self.rank is not None and (self.world_size or 1) > 1


class _Source(NamedTuple):
    name: str
    rank: tuple[str, ...]
    world_size: str
    #: One of these must be set too.
    marks: tuple[str, ...] = ()
    #: Variables that together identify the launch; the first that are all set do.
    launch: tuple[tuple[str, ...], ...] = ()
    restarts: str = ""


_SOURCES: Final = (
    _Source("boardd", ("BOARDD_RANK",), "BOARDD_WORLD_SIZE"),
    _Source(
        "torchrun",
        ("RANK",),
        "WORLD_SIZE",
        marks=("LOCAL_RANK", "TORCHELASTIC_RUN_ID", "GROUP_RANK", "MASTER_ADDR"),
        launch=(("TORCHELASTIC_RUN_ID",),),
        restarts="TORCHELASTIC_RESTART_COUNT",
    ),
    _Source(
        "horovod",
        ("HOROVOD_RANK",),
        "HOROVOD_SIZE",
        launch=(("HOROVOD_GLOO_RENDEZVOUS_ADDR", "HOROVOD_GLOO_RENDEZVOUS_PORT"),),
    ),
    _Source(
        "dmlc",
        ("DMLC_WORKER_ID", "DMLC_TASK_ID", "DMLC_RANK"),
        "DMLC_NUM_WORKER",
        launch=(("DMLC_PS_ROOT_URI", "DMLC_PS_ROOT_PORT"),),
    ),
    _Source(
        "jax", ("JAX_PROCESS_ID",), "JAX_NUM_PROCESSES", launch=(("JAX_COORDINATOR_ADDRESS",),)
    ),
    _Source(
        "open mpi",
        ("OMPI_COMM_WORLD_RANK",),
        "OMPI_COMM_WORLD_SIZE",
        launch=(("PMIX_NAMESPACE",), ("OMPI_MCA_ess_base_jobid",)),
    ),
    _Source("pmi", ("PMI_RANK",), "PMI_SIZE", launch=(("PMI_JOBID",), ("I_MPI_HYDRA_UUID",))),
    _Source(
        "slurm",
        ("SLURM_PROCID",),
        "SLURM_STEP_NUM_TASKS",
        launch=(("SLURM_JOB_ID", "SLURM_STEP_ID"),),
        restarts="SLURM_RESTART_COUNT",
    ),
)

#: Where the ranks of torch.distributed meet, whatever started them.
_MEETING_PLACE: Final = ("MASTER_ADDR", "MASTER_PORT")
#: torchrun's run id if nobody gave one.
_NO_RUN_ID: Final = ["none"]

_NOTHING: Final = Ranks(None, None, "none")

_warned: set[tuple[str, str]] = set()
_warned_spawned: list[bool] = []


def detect(environ: Mapping[str, str]) -> Ranks:
    """Returns what ``environ`` says; never raises.

    Variables that contradict each other or are no numbers are passed over,
    with one warning for each.
    """
    unnumbered: Ranks | None = None
    for found in _all(environ):
        if unnumbered is None:
            if found.rank is not None:
                return found
            unnumbered = found
        elif found.rank is not None and found.world_size == unnumbered.world_size:
            return unnumbered._replace(rank=found.rank)
    return unnumbered or _NOTHING


def resolve(
    rank: object, world_size: object, environ: Mapping[str, str], launch: object = None
) -> Ranks:
    """Returns the explicit ``rank``, ``world_size`` and ``launch``, completed from ``environ``.

    Args:
        rank: 0 to ``world_size`` - 1, or None.
        world_size: 1 or more, or None. Given without ``rank``, the rank is that of
            ``environ`` if its world size is the same, 0 if it is 1, and else unknown.
        environ: the environment, for what is None.
        launch: 1 to 512 bytes of UTF-8, or None: ``BOARDD_LAUNCH``, else that of the source
            with the same world size, else where the ranks meet.

    Raises:
        TypeError: not an integer, or ``launch`` is no str.
        ValueError: out of range, or a ``rank`` whose world size is nowhere given.
    """
    named = _launch_argument(launch) or _shortened(environ.get("BOARDD_LAUNCH", "").strip())
    found = _resolve(_argument(rank, "rank", 0), _argument(world_size, "world_size", 1), environ)
    return found._replace(launch=named) if named else found


def _resolve(rank: int | None, world_size: int | None, environ: Mapping[str, str]) -> Ranks:
    if rank is None and world_size is None:
        found = detect(environ)
        if found is _NOTHING:
            _warn_of_spawned()
        return found
    if world_size is None:
        world_size = detect(environ).world_size
        if world_size is None:
            raise ValueError(f"rank={rank} needs world_size, the number of workers")
    if rank is None:
        detected = detect(environ)
        if detected.world_size == world_size:
            rank = detected.rank
        elif world_size == 1:
            rank = 0
    elif rank >= world_size:
        raise ValueError(f"rank={rank} is not below world_size={world_size}; ranks start at 0")
    # A source with another world size counts other processes, perhaps the launchers of these.
    of_same_size = (found for found in _all(environ) if found.world_size == world_size)
    source = next(of_same_size, None)
    launch = _identity((), world_size, environ) if source is None else source.launch
    attempt = 0 if source is None else source.attempt
    return Ranks(rank, world_size, "arguments", launch, attempt)


def _all(environ: Mapping[str, str]) -> Iterator[Ranks]:
    """Yields what each of the sources says that say anything."""
    for source in _SOURCES:
        found = _from_source(source, environ)
        if found is not None:
            launch = _identity(source.launch, found.world_size, environ)
            yield found._replace(launch=launch, attempt=_attempt(source, environ))
    group = _process_group()
    if group is not None:
        rank, world_size = group
        yield Ranks(rank, world_size, "torch.distributed", _identity((), world_size, environ))


def _process_group() -> tuple[int, int] | None:
    """Rank and world size in torch's default process group; None if there is none."""
    distributed: Any = sys.modules.get("torch.distributed")
    try:
        if distributed is None or not distributed.is_available():
            return None
        if not distributed.is_initialized():
            return None
        rank, world_size = int(distributed.get_rank()), int(distributed.get_world_size())
    except Exception:  # it is torch's, and in whatever state
        return None
    return (rank, world_size) if 0 <= rank < world_size <= MAX_WORLD_SIZE else None


def _warn_of_spawned() -> None:
    """Warns once in a process that ``torch.multiprocessing.spawn`` has started."""
    target = getattr(multiprocessing.current_process(), "_target", None)
    if getattr(target, "__module__", "") == "torch.multiprocessing.spawn" and not _warned_spawned:
        _warned_spawned.append(True)
        _logger.warning(
            "boardd: the rank of this process of torch.multiprocessing.spawn is not known, so all "
            "of them may write to one run; pass rank= and world_size=, or make the writer after "
            "init_process_group (rank=0, world_size=1 for a run of its own)"
        )


def _identity(
    choices: tuple[tuple[str, ...], ...], world_size: int | None, environ: Mapping[str, str]
) -> str:
    for names in (*choices, _MEETING_PLACE):
        values = [environ.get(name, "").strip() for name in names]
        if all(values) and values != _NO_RUN_ID:
            return _shortened(":".join(values), f" of {world_size}")
    return ""


def _attempt(source: _Source, environ: Mapping[str, str]) -> int:
    """How often all ranks of the launch were restarted together, as far as all agree on it."""
    if source.name == "torchrun" and environ.get("LOCAL_WORLD_SIZE") != environ.get("WORLD_SIZE"):
        return 0
    count = _number(environ.get(source.restarts, ""))
    return min(count or 0, _MAX_ATTEMPT)


def _shortened(text: str, end: str = "") -> str:
    """``text`` and ``end`` as UTF-8 can hold them, within ``MAX_LAUNCH_BYTES``."""
    encoded = text.encode(errors="backslashreplace")[: MAX_LAUNCH_BYTES - len(end)]
    return encoded.decode(errors="ignore") + end


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
    # Ten digits hold all that counts; int() of endless digits would raise.
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 else None


def _warn(name: str, text: str, reason: str) -> None:
    if (name, text) not in _warned:
        _warned.add((name, text))
        _logger.warning("boardd: ignoring %s=%r: %s", name, text[:100], reason)


def _argument(value: object, name: str, least: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}, expected an int")
    number = operator.index(value)
    if not least <= number <= MAX_WORLD_SIZE:
        expected = f"{least} or more" if number < least else f"at most {MAX_WORLD_SIZE}"
        raise ValueError(f"{name}={number} is out of range, expected {expected}")
    return number


def _launch_argument(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"launch={value!r} is a {type(value).__name__}, expected a str")
    size_bytes = len(value.encode(errors="surrogatepass"))
    if not 0 < size_bytes <= MAX_LAUNCH_BYTES or _shortened(value) != value:
        raise ValueError(f"launch={value[:80]!r}: expected 1 to {MAX_LAUNCH_BYTES} bytes of UTF-8")
    return value
