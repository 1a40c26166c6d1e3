"""Data-parallel training with MXNet's parameter server: every worker logs, one picture.

    python examples/mxnet_dist_sync.py --workers 4 --logdir logs/dist_sync
    tensorboard --logdir logs

It starts a scheduler, a server and the workers on this machine. Each worker learns from its own
share of the digits, and logs its loss and its gradients with a plain ``SummaryWriter(logdir)``.
boardd merges them: the run holds the mean loss and the gradients of all workers together, ``min``
and ``max`` beneath it hold the extremes, and ``rank_<r>`` the curves of each worker.

If ``DMLC_ROLE`` is set, as MXNet's ``tools/launch.py`` does, it only takes that role.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# Layers this small gain nothing from several threads, and the workers share the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

LOSS_TAG = "loss"
GRADIENT_BINS = 64
GRADIENT_STEPS = 10  #: between two histograms of a gradient
LAUNCHER_VARIABLE = "DIST_SYNC_LAUNCHER"  #: holds the process that started this one

_PR_SET_PDEATHSIG = 1


def work(options: argparse.Namespace) -> None:
    """Trains as one worker of the job."""
    import mxnet as mx
    import numpy as np
    from boardd_client import SummaryWriter
    from mnist import bundled_digits, network
    from mxnet import autograd, gluon

    store = mx.kv.create("dist_sync")
    worker = int(os.environ["DMLC_TASK_ID"])
    images, labels = bundled_digits()[0][:]
    share = np.arange(worker, len(images), store.num_workers)
    random = np.random.RandomState(options.seed + worker)

    mx.random.seed(options.seed)
    net = network()
    net.initialize(mx.init.Xavier(magnitude=2.24))
    net.hybridize()
    cross_entropy = gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = gluon.Trainer(
        net.collect_params(), "sgd", {"learning_rate": options.lr, "momentum": 0.9}, kvstore=store
    )

    dumped: dict[str, list[np.ndarray]] = {}
    with SummaryWriter(options.logdir) as sw:
        for step in range(options.steps):
            batch = random.choice(share, options.batch_size, replace=False)
            with autograd.record():
                loss = cross_entropy(net(mx.nd.array(images[batch])), mx.nd.array(labels[batch]))
            loss.backward()

            # All of it is this worker's own, and MXNet is still computing it.
            logged = {LOSS_TAG: loss.mean()}
            sw.add_scalar(LOSS_TAG, logged[LOSS_TAG], step)
            if step % GRADIENT_STEPS == 0:
                for name, parameter in net.collect_params().items():
                    tag = f"gradients/{name}"
                    logged[tag] = parameter.grad()
                    sw.add_histogram(tag, logged[tag], step, bins=GRADIENT_BINS)
            if options.dump is not None:
                for tag, value in logged.items():
                    dumped.setdefault(tag, []).append(value.asnumpy())

            trainer.step(options.batch_size * store.num_workers)
    print(f"worker {worker}: loss {loss.mean().asscalar():.3f} in step {step}", flush=True)
    if options.dump is not None:
        options.dump.mkdir(parents=True, exist_ok=True)
        np.savez(
            options.dump / f"rank_{worker}.npz",
            **{tag: np.stack(values) for tag, values in dumped.items()},
        )


def take_role(options: argparse.Namespace) -> None:
    """Takes the role that the environment names, and ends with the launcher, if there is one."""
    launcher = os.environ.get(LAUNCHER_VARIABLE)
    if launcher is not None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != int(launcher):  # it ended before the kernel knew
            sys.exit(1)
    if os.environ["DMLC_ROLE"] == "worker":
        work(options)
    else:
        import mxnet  # noqa: F401  # schedulers and servers serve in here, and then exit


def free_port() -> int:
    """Returns a TCP port of 127.0.0.1 that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def roles(workers: int) -> list[Mapping[str, str]]:
    """Returns the environment of each process of a job: a scheduler, a server, the workers."""
    job = {
        "DMLC_PS_ROOT_URI": "127.0.0.1",
        "DMLC_PS_ROOT_PORT": str(free_port()),
        "DMLC_NODE_HOST": "127.0.0.1",
        "DMLC_NUM_SERVER": "1",
        "DMLC_NUM_WORKER": str(workers),
        LAUNCHER_VARIABLE: str(os.getpid()),
    }
    return [
        {**job, "DMLC_ROLE": "scheduler"},
        {**job, "DMLC_ROLE": "server"},
        *({**job, "DMLC_ROLE": "worker", "DMLC_TASK_ID": str(i)} for i in range(workers)),
    ]


def launch(arguments: Sequence[str], workers: int) -> int:
    """Runs a job of this script with ``arguments``; returns 0 if every process ended well.

    The first that fails ends the others, which would wait for it forever.
    """
    command = [sys.executable, __file__, *arguments]
    running: dict[int, subprocess.Popen[bytes]] = {}
    try:
        for role in roles(workers):
            process = subprocess.Popen(command, env={**os.environ, **role})
            running[process.pid] = process
        while running:
            pid, status = os.wait()
            del running[pid]
            if status != 0:
                print(f"process {pid} of the job failed, so it ends", file=sys.stderr)
                return 1
        return 0
    finally:
        for process in running.values():
            process.kill()
            process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Train MNIST on several workers with MXNet's kvstore, all logging to one run.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--logdir", default="logs/dist_sync", help="directory of the run")
    parser.add_argument("--workers", type=int, default=4, help="processes that train")
    parser.add_argument("--steps", type=int, default=100, help="batches of each worker")
    parser.add_argument("--batch-size", type=int, default=50, help="digits in a worker's batch")
    parser.add_argument("--lr", type=float, default=0.1, help="learning rate")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and batches")
    parser.add_argument(
        "--dump", type=Path, help="directory for a copy of what each worker logged, as .npz files"
    )
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    if options.workers < 1 or options.steps < 1:
        parser.error("--workers and --steps: expected at least 1")
    if "DMLC_ROLE" in os.environ:
        take_role(options)
        return 0
    return launch(arguments, options.workers)


if __name__ == "__main__":
    sys.exit(main())
