from __future__ import annotations

import logging

import numpy as np
import pytest
from boardd_client import ranks
from boardd_client.ranks import Ranks, detect, resolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "4"}
SLURM_STEP = {"SLURM_PROCID": "2", "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "4"}
DMLC = {"DMLC_ROLE": "worker", "DMLC_NUM_WORKER": "4"}

CASES = {
    "nothing": ({}, Ranks(None, None, "none")),
    "boardd": ({"BOARDD_RANK": "1", "BOARDD_WORLD_SIZE": "2"}, Ranks(1, 2, "boardd")),
    "boardd, size alone": ({"BOARDD_WORLD_SIZE": "2"}, Ranks(None, 2, "boardd")),
    "boardd, one worker": ({"BOARDD_WORLD_SIZE": "1"}, Ranks(0, 1, "boardd")),
    "boardd before all": (
        {**TORCHRUN, "BOARDD_RANK": "0", "BOARDD_WORLD_SIZE": "1"},
        Ranks(0, 1, "boardd"),
    ),
    "torchrun": (TORCHRUN, Ranks(3, 8, "torchrun")),
    "a RANK of something else": ({"RANK": "3", "WORLD_SIZE": "8"}, Ranks(None, None, "none")),
    "torchrun inside a step": ({**SLURM_STEP, **TORCHRUN}, Ranks(3, 8, "torchrun")),
    "horovod on open mpi": (
        {**OPEN_MPI, "HOROVOD_RANK": "2", "HOROVOD_SIZE": "4"},
        Ranks(2, 4, "horovod"),
    ),
    "open mpi": (OPEN_MPI, Ranks(1, 4, "open mpi")),
    "pmi": ({"PMI_RANK": "1", "PMI_SIZE": "4"}, Ranks(1, 4, "pmi")),
    "jax": ({"JAX_PROCESS_ID": "1", "JAX_NUM_PROCESSES": "4"}, Ranks(1, 4, "jax")),
    "dmlc": ({**DMLC, "DMLC_WORKER_ID": "3"}, Ranks(3, 4, "dmlc")),
    "dmlc, task id": ({**DMLC, "DMLC_TASK_ID": "2"}, Ranks(2, 4, "dmlc")),
    "dmlc, unnumbered": (DMLC, Ranks(None, 4, "dmlc")),
    "dmlc, unnumbered, one worker": ({**DMLC, "DMLC_NUM_WORKER": "1"}, Ranks(0, 1, "dmlc")),
    "dmlc, numbered by open mpi": ({**DMLC, **OPEN_MPI}, Ranks(1, 4, "dmlc")),
    "dmlc within another job": (
        {**DMLC, **OPEN_MPI, "DMLC_NUM_WORKER": "3"},
        Ranks(None, 3, "dmlc"),
    ),
    "dmlc server": ({**DMLC, "DMLC_ROLE": "server"}, Ranks(None, None, "none")),
    "dmlc scheduler": ({**DMLC, "DMLC_ROLE": "scheduler"}, Ranks(None, None, "none")),
    "slurm step": (SLURM_STEP, Ranks(2, 4, "slurm")),
    "slurm batch script": (
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "7"},
        Ranks(None, None, "none"),
    ),
    "shell of salloc, an interactive step": (
        {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_STEP_NUM_TASKS": "1"},
        Ranks(0, 1, "slurm"),
    ),
    "empty variables": (
        {"BOARDD_RANK": "", "BOARDD_WORLD_SIZE": "", **OPEN_MPI},
        Ranks(1, 4, "open mpi"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_detect(case: str) -> None:
    environ, expected = CASES[case]
    assert detect(environ) == expected


NONSENSE = {
    "rank is no number": ({"BOARDD_RANK": "x", "BOARDD_WORLD_SIZE": "2"}, None, 2),
    "rank too large": ({"BOARDD_RANK": "2", "BOARDD_WORLD_SIZE": "2"}, None, 2),
    "negative rank": ({"BOARDD_RANK": "-1", "BOARDD_WORLD_SIZE": "2"}, None, 2),
    "size is no number": ({"BOARDD_RANK": "1", "BOARDD_WORLD_SIZE": "two"}, None, None),
    "size zero": ({"BOARDD_RANK": "0", "BOARDD_WORLD_SIZE": "0"}, None, None),
    "endless digits": ({"BOARDD_RANK": "0", "BOARDD_WORLD_SIZE": "9" * 10_000}, None, None),
    "other digits": ({"BOARDD_RANK": "0", "BOARDD_WORLD_SIZE": "\N{SUPERSCRIPT TWO}"}, None, None),
    "no size": ({"BOARDD_RANK": "1"}, None, None),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_nonsense_is_warned_about_once(
    case: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks, "_warned", set())
    environ, rank, world_size = NONSENSE[case]
    with caplog.at_level(logging.WARNING, "boardd_client"):
        assert detect(environ)[:2] == detect(environ)[:2] == (rank, world_size)
    assert [record.name for record in caplog.records] == ["boardd_client"]
    assert "ignoring BOARDD_" in caplog.text
    assert len(caplog.text) < 400


def test_nonsense_of_one_source_leaves_the_next() -> None:
    environ = {"BOARDD_RANK": "1", "BOARDD_WORLD_SIZE": "many", **OPEN_MPI}
    assert detect(environ) == Ranks(1, 4, "open mpi")


VARIABLES = sorted(
    {name for source in ranks._SOURCES for name in (*source.rank, source.world_size, *source.marks)}
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from([*VARIABLES, "DMLC_ROLE"]), st.text() | st.integers().map(str))
)
def test_detect_never_raises_and_is_consistent(environ: dict[str, str]) -> None:
    found = detect(environ)
    if found.rank is not None:
        assert found.world_size is not None
        assert 0 <= found.rank < found.world_size
    assert (found.world_size is None) == (found.source == "none")


@pytest.mark.parametrize(
    ("rank", "world_size", "environ", "expected"),
    [
        (None, None, OPEN_MPI, Ranks(1, 4, "open mpi")),
        (0, 2, OPEN_MPI, Ranks(0, 2, "arguments")),
        (np.int64(1), np.int32(2), {}, Ranks(1, 2, "arguments")),
        (3, None, OPEN_MPI, Ranks(3, 4, "arguments")),
        (None, 4, OPEN_MPI, Ranks(1, 4, "arguments")),
        (None, 2, OPEN_MPI, Ranks(None, 2, "arguments")),
        (None, 1, OPEN_MPI, Ranks(0, 1, "arguments")),
        (None, 2, {}, Ranks(None, 2, "arguments")),
    ],
)
def test_resolve(
    rank: object, world_size: object, environ: dict[str, str], expected: Ranks
) -> None:
    found = resolve(rank, world_size, environ)
    assert found == expected
    assert type(found.rank) in (int, type(None))


@pytest.mark.parametrize(
    ("rank", "world_size", "error", "text"),
    [
        (True, 2, TypeError, "rank=True is a bool"),
        ("1", 2, TypeError, "rank='1' is a str"),
        (1, 2.0, TypeError, r"world_size=2.0 is a float"),
        (-1, 2, ValueError, "rank=-1"),
        (0, 0, ValueError, "world_size=0"),
        (2, 2, ValueError, "rank=2 is not below world_size=2"),
        (4, None, ValueError, "rank=4 needs world_size"),
        (0, 2**20 + 1, ValueError, "world_size=1048577 is out of range, expected at most 1048576"),
    ],
)
def test_wrong_arguments(
    rank: object, world_size: object, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        resolve(rank, world_size, {})


def test_a_rank_beyond_the_detected_world() -> None:
    with pytest.raises(ValueError, match="rank=4 is not below world_size=4"):
        resolve(4, None, OPEN_MPI)
