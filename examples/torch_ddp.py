"""Data-parallel training with PyTorch's DistributedDataParallel: every rank logs, one picture.

    python examples/torch_ddp.py --workers 4 --logdir logs/ddp
    torchrun --nproc-per-node=4 examples/torch_ddp.py --logdir logs/ddp
    tensorboard --logdir logs

Each rank learns from its own share of the digits, on the CPU over gloo, and logs its loss and its
gradients with a plain ``SummaryWriter(logdir)``. boardd merges them: the run holds the mean loss
and the gradients of all ranks together, ``min`` and ``max`` beneath it hold the extremes, and
``rank_<r>`` the curves of each rank.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from boardd_client import SummaryWriter
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

LOSS_TAG = "loss"
GRADIENT_BINS = 64
GRADIENT_STEPS = 10  #: between two histograms of a gradient


def small_digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the digits of scikit-learn: float32[1797, 64] in [0, 1], int64[1797]."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    pixels = (digits.data / 16).astype(np.float32)
    return torch.from_numpy(pixels), torch.from_numpy(digits.target.astype(np.int64))


def train(options: argparse.Namespace) -> None:
    """Trains as one rank of the process group."""
    rank, world_size = distributed.get_rank(), distributed.get_world_size()
    images, labels = (part[rank::world_size] for part in small_digits())
    random = torch.Generator().manual_seed(options.seed + rank)

    torch.manual_seed(options.seed)
    net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    averaging = DistributedDataParallel(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=options.lr, momentum=0.9)
    dumped: dict[str, list[np.ndarray]] = {}

    with SummaryWriter(options.logdir) as sw:
        step = 0

        def log_gradient(tag: str, gradient: torch.Tensor) -> None:
            """Logs a gradient of this rank alone, before it is averaged over all."""
            if step % GRADIENT_STEPS == 0:
                sw.add_histogram(tag, gradient, step, bins=GRADIENT_BINS)
                if options.dump is not None:
                    dumped.setdefault(tag, []).append(gradient.numpy().copy())

        for name, parameter in net.named_parameters():
            tag = f"gradients/{name}"
            parameter.register_hook(lambda gradient, tag=tag: log_gradient(tag, gradient))

        for step in range(options.steps):  # log_gradient reads it
            batch = torch.randint(len(images), (options.batch_size,), generator=random)
            loss = torch.nn.functional.cross_entropy(averaging(images[batch]), labels[batch])
            sw.add_scalar(LOSS_TAG, loss.detach(), step)
            if options.dump is not None:
                dumped.setdefault(LOSS_TAG, []).append(loss.detach().numpy().copy())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    print(f"rank {rank}: loss {loss.item():.3f} in step {step}", flush=True)
    if options.dump is not None:
        options.dump.mkdir(parents=True, exist_ok=True)
        np.savez(
            options.dump / f"rank_{rank}.npz",
            **{tag: np.stack(values) for tag, values in dumped.items()},
        )


def train_spawned(rank: int, store: str, options: argparse.Namespace) -> None:
    """Trains as a rank that ``spawn`` has started, with the variables that torchrun would set."""
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(options.workers))
    torch.set_num_threads(1)  # the ranks share the cores
    distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=options.workers
    )
    train(options)
    distributed.destroy_process_group()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Train digits on several ranks with PyTorch DDP, all logging to one run.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--logdir", default="logs/ddp", help="directory of the run")
    parser.add_argument("--workers", type=int, default=4, help="ranks, where torchrun sets none")
    parser.add_argument("--steps", type=int, default=100, help="batches of each rank")
    parser.add_argument("--batch-size", type=int, default=50, help="digits in a rank's batch")
    parser.add_argument("--lr", type=float, default=0.1, help="learning rate")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and batches")
    parser.add_argument(
        "--dump", type=Path, help="directory for a copy of what each rank logged, as .npz files"
    )
    options = parser.parse_args(arguments)
    if options.workers < 1 or options.steps < 1:
        parser.error("--workers and --steps: expected at least 1")
    if distributed.is_torchelastic_launched():
        distributed.init_process_group("gloo")
        train(options)
        distributed.destroy_process_group()
    else:
        with tempfile.TemporaryDirectory() as directory:
            store = os.path.join(directory, "store")
            multiprocessing.spawn(train_spawned, (store, options), nprocs=options.workers)


if __name__ == "__main__":
    main()
