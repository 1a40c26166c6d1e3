"""Which launch a worker belongs to: what each launcher sets, and what must not be mixed."""

from __future__ import annotations

import pytest
from boardd_client.ranks import Ranks, detect, resolve
from boardd_protos.merging import MAX_LAUNCH_BYTES

MASTER = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}

#: One of two agents with four workers each.
TORCHRUN = {
    "RANK": "5",
    "LOCAL_RANK": "1",
    "GROUP_RANK": "1",
    "ROLE_RANK": "5",
    "ROLE_NAME": "default",
    "WORLD_SIZE": "8",
    "LOCAL_WORLD_SIZE": "4",
    "GROUP_WORLD_SIZE": "2",
    "ROLE_WORLD_SIZE": "8",
    "TORCHELASTIC_RESTART_COUNT": "0",
    "TORCHELASTIC_MAX_RESTARTS": "3",
    "TORCHELASTIC_RUN_ID": "job7",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    **MASTER,
}
ONE_AGENT = {**TORCHRUN, "LOCAL_WORLD_SIZE": "8", "GROUP_WORLD_SIZE": "1", "GROUP_RANK": "0"}
SLURM_JOB = {"SLURM_JOB_ID": "4711", "SLURM_JOBID": "4711", "SLURM_NTASKS": "4"}
SRUN = {
    **SLURM_JOB,
    "SLURM_STEP_ID": "2",
    "SLURM_STEPID": "2",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_TASKS": "4",
}
OPEN_MPI_4 = {
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_UNIVERSE_SIZE": "4",
    "OMPI_MCA_ess_base_jobid": "2938961921",
    "OMPI_MCA_ess_base_vpid": "1",
    "PMIX_RANK": "1",
}
OPEN_MPI_5 = {
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "4",
    "PMIX_RANK": "1",
    "PMIX_NAMESPACE": "prterun-node1-1234@1",
}
HOROVODRUN = {
    "HOROVOD_RANK": "2",
    "HOROVOD_SIZE": "4",
    "HOROVOD_CONTROLLER": "gloo",
    "HOROVOD_GLOO_RENDEZVOUS_ADDR": "10.0.0.2",
    "HOROVOD_GLOO_RENDEZVOUS_PORT": "4242",
}
DMLC = {
    "DMLC_ROLE": "worker",
    "DMLC_NUM_WORKER": "4",
    "DMLC_NUM_SERVER": "1",
    "DMLC_PS_ROOT_URI": "10.0.0.3",
    "DMLC_PS_ROOT_PORT": "9091",
    "DMLC_NUM_ATTEMPT": "1",
}
JAX = {
    "JAX_PROCESS_ID": "1",
    "JAX_NUM_PROCESSES": "4",
    "JAX_COORDINATOR_ADDRESS": "10.0.0.4:1234",
}
INTEL_MPI = {"PMI_RANK": "1", "PMI_SIZE": "4", "I_MPI_HYDRA_UUID": "9d260000-7c26"}
SRUN_PMI2 = {**SRUN, "PMI_RANK": "3", "PMI_SIZE": "4", "PMI_JOBID": "4711.2"}

LAUNCHERS = {
    "torchrun": (TORCHRUN, Ranks(5, 8, "torchrun", "job7 of 8")),
    "torchrun, no run id": (
        {**TORCHRUN, "TORCHELASTIC_RUN_ID": "none"},
        Ranks(5, 8, "torchrun", "10.0.0.1:29500 of 8"),
    ),
    "torch.distributed by other means": (
        {"RANK": "1", "WORLD_SIZE": "2", **MASTER},
        Ranks(1, 2, "torchrun", "10.0.0.1:29500 of 2"),
    ),
    "horovodrun": (HOROVODRUN, Ranks(2, 4, "horovod", "10.0.0.2:4242 of 4")),
    "dmlc, unnumbered": (DMLC, Ranks(None, 4, "dmlc", "10.0.0.3:9091 of 4")),
    "dmlc, numbered": (
        {**DMLC, "DMLC_WORKER_ID": "2"},
        Ranks(2, 4, "dmlc", "10.0.0.3:9091 of 4"),
    ),
    "jax": (JAX, Ranks(1, 4, "jax", "10.0.0.4:1234 of 4")),
    "open mpi 4": (OPEN_MPI_4, Ranks(1, 4, "open mpi", "2938961921 of 4")),
    "open mpi 5": (OPEN_MPI_5, Ranks(1, 4, "open mpi", "prterun-node1-1234@1 of 4")),
    "intel mpi": (INTEL_MPI, Ranks(1, 4, "pmi", "9d260000-7c26 of 4")),
    "mpich": ({"PMI_RANK": "1", "PMI_SIZE": "4", "PMI_FD": "9"}, Ranks(1, 4, "pmi")),
    "srun": (SRUN, Ranks(3, 4, "slurm", "4711:2 of 4")),
    "srun --mpi=pmi2": (SRUN_PMI2, Ranks(3, 4, "pmi", "4711.2 of 4")),
    "srun, a job that was requeued": (
        {**SRUN, "SLURM_RESTART_COUNT": "2"},
        Ranks(3, 4, "slurm", "4711:2 of 4", 2),
    ),
    "boardd": ({"BOARDD_RANK": "1", "BOARDD_WORLD_SIZE": "2"}, Ranks(1, 2, "boardd")),
    "boardd, with its launch": (
        {"BOARDD_RANK": "1", "BOARDD_WORLD_SIZE": "2", "BOARDD_LAUNCH": "try-3"},
        Ranks(1, 2, "boardd", "try-3"),
    ),
    "nothing": ({}, Ranks(None, None, "none")),
    "a meeting place alone": (MASTER, Ranks(None, None, "none")),
    "dmlc server": ({**DMLC, "DMLC_ROLE": "server"}, Ranks(None, None, "none")),
    "dmlc scheduler": ({**DMLC, "DMLC_ROLE": "scheduler"}, Ranks(None, None, "none")),
}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_the_launch_of_each_launcher(launcher: str) -> None:
    environ, expected = LAUNCHERS[launcher]
    assert resolve(None, None, environ) == expected


MIXED = {
    # Hydra starts remote ranks by srun, and those of its own node by fork: only some see a step.
    "mpiexec in a Slurm job": (
        {**SRUN, "PMI_RANK": "1", "PMI_SIZE": "4"},
        Ranks(1, 4, "pmi"),
    ),
    "torchrun in a Slurm job": (
        {**SRUN, **ONE_AGENT, "SLURM_RESTART_COUNT": "2"},
        Ranks(5, 8, "torchrun", "job7 of 8", 0),
    ),
    "dmlc, numbered by open mpi": (
        {**DMLC, **OPEN_MPI_5},
        Ranks(1, 4, "dmlc", "10.0.0.3:9091 of 4"),
    ),
    "half of what identifies a step": (
        {key: value for key, value in SRUN.items() if key != "SLURM_STEP_ID"},
        Ranks(3, 4, "slurm"),
    ),
}


@pytest.mark.parametrize("case", MIXED)
def test_rank_and_launch_are_of_one_source(case: str) -> None:
    environ, expected = MIXED[case]
    assert detect(environ) == expected


def test_restarts_count_if_one_agent_started_all_ranks() -> None:
    # Each of torchrun's agents counts its own: ranks of one restart would not agree.
    restarted = {"TORCHELASTIC_RESTART_COUNT": "2"}
    assert detect({**ONE_AGENT, **restarted}).attempt == 2
    assert detect({**TORCHRUN, **restarted}).attempt == 0


def test_an_elastic_launch_that_changes_in_size_is_another() -> None:
    smaller = {**TORCHRUN, "WORLD_SIZE": "6"}
    assert detect(smaller).launch != detect(TORCHRUN).launch


@pytest.mark.parametrize("count", ["-1", "many", "9" * 30, ""])
def test_a_count_of_restarts_that_is_none_is_0(count: str) -> None:
    assert detect({**SRUN, "SLURM_RESTART_COUNT": count}).attempt == 0


def test_arguments_have_the_launch_of_the_source_with_their_world_size() -> None:
    assert resolve(1, 4, SRUN) == Ranks(1, 4, "arguments", "4711:2 of 4")
    requeued = {**SRUN, "SLURM_RESTART_COUNT": "1"}
    assert resolve(1, 4, requeued) == Ranks(1, 4, "arguments", "4711:2 of 4", 1)
    # The four tasks are launchers, perhaps each in a step of its own on other nodes.
    assert resolve(1, 32, SRUN) == Ranks(1, 32, "arguments")
    assert resolve(1, 32, {**SRUN, **MASTER}).launch == "10.0.0.1:29500 of 32"


def test_a_launch_that_is_named_counts_before_all() -> None:
    named = {**SRUN, "SLURM_RESTART_COUNT": "1", "BOARDD_LAUNCH": "mine"}
    assert resolve(None, None, named) == Ranks(3, 4, "slurm", "mine", 1)
    assert resolve(0, 2, named, "given") == Ranks(0, 2, "arguments", "given")


def test_a_launch_of_the_environment_is_shortened_to_what_the_wire_takes() -> None:
    long = {**OPEN_MPI_5, "PMIX_NAMESPACE": "ä" * 1000}
    found = detect(long).launch
    assert found.endswith("ä of 4")
    assert MAX_LAUNCH_BYTES - 1 <= len(found.encode()) <= MAX_LAUNCH_BYTES
    # What is no UTF-8 reaches Python as a lone surrogate, which no message can hold.
    assert resolve(0, 2, {"BOARDD_LAUNCH": "a\udcff"}).launch.encode()


@pytest.mark.parametrize(
    ("launch", "error"),
    [(7, TypeError), ("", ValueError), ("x" * 513, ValueError), ("\udcff", ValueError)],
)
def test_a_launch_that_is_none_is_refused(launch: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="launch="):
        resolve(0, 2, {}, launch)
