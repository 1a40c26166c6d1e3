"""The PyTorch hook: what real training logs through it, and that it stays the same."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import LOADERS, Loader, read_histograms
from support.watched_network import BINS, Arrays, check_health, check_histograms, logged

torch = pytest.importorskip("torch", reason="needs torch", exc_type=ImportError)

from boardd_client.hooks import torch as hooks  # noqa: E402

DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ),
]


@pytest.fixture
def writer(daemon: DaemonProcess, tmp_path: Path) -> SummaryWriter:
    return SummaryWriter(str(tmp_path / "logs"), address=daemon.address)


@pytest.fixture
def logdir(tmp_path: Path) -> Path:
    return tmp_path / "logs"


def network(device: str = "cpu") -> Any:
    torch.manual_seed(3)
    return torch.nn.Sequential(
        torch.nn.Linear(5, 6),
        torch.nn.ReLU(),
        torch.nn.Dropout(0.2),
        torch.nn.BatchNorm1d(6),
        torch.nn.Linear(6, 3),
    ).to(device)


def arrays(net: Any) -> tuple[Arrays, Arrays]:
    """All parameters and gradients, as they are now."""
    named = list(net.named_parameters())
    parameters = {name: item.detach().cpu().numpy().copy() for name, item in named}
    gradients = {
        name: item.grad.cpu().numpy().copy() for name, item in named if item.grad is not None
    }
    return parameters, gradients


def train(
    net: Any,
    steps: int,
    *,
    optimizer: Any = None,
    accumulate: int = 1,
    before_zero_grad: Callable[[], None] = lambda: None,
) -> list[tuple[Arrays, Arrays]]:
    """Trains as users do; returns the arrays after each step, before ``zero_grad``."""
    if optimizer is None:
        optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    device = next(net.parameters()).device
    random = np.random.default_rng(7)
    states = []
    for _ in range(steps):
        for _ in range(accumulate):
            data = torch.from_numpy(random.standard_normal((8, 5), np.float32)).to(device)
            labels = torch.from_numpy(random.integers(0, 3, 8)).to(device)
            torch.nn.functional.cross_entropy(net(data), labels).backward()
        optimizer.step()
        before_zero_grad()
        states.append(arrays(net))
        optimizer.zero_grad()
    return states


@pytest.mark.parametrize("device", DEVICES)
def test_a_watched_module(writer: SummaryWriter, logdir: Path, device: str) -> None:
    plain = train(network(device), 5)
    net = network(device)
    handle = hooks.watch(net, writer, every=2, bins=BINS)
    states = train(net, 5)
    assert handle.next_step == 5
    assert writer.close()
    assert all(gradients.keys() == parameters.keys() for parameters, gradients in states)
    check_histograms(logdir, states, [0, 2, 4])
    for watched, unwatched in zip(states, plain, strict=True):
        for one, other in zip(watched, unwatched, strict=True):
            assert one.keys() == other.keys()
            for name in one:
                np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("loader", LOADERS)
def test_tensorboard_shows_a_gradient(writer: SummaryWriter, logdir: Path, loader: Loader) -> None:
    net = network()
    hooks.watch(net, writer, every=3, bins=BINS)
    states = train(net, 4)
    assert writer.close()
    points = read_histograms(logdir, loader)["."]["gradients/4.weight"]
    assert [point.step for point in points] == [0, 3]
    for point in points:
        values = states[point.step][1]["4.weight"].astype(np.float64)
        counts, _ = np.histogram(values, bins=BINS)
        assert point.buckets[:, 2].astype(int).tolist() == counts.tolist()


def test_accumulated_gradients_are_one_step(writer: SummaryWriter, logdir: Path) -> None:
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    handle = hooks.watch(net, writer, every=1, bins=BINS, optimizer=optimizer, initial_step=20)
    states = train(net, 2, optimizer=optimizer, accumulate=3)
    assert handle.next_step == 22
    assert writer.close()
    check_histograms(logdir, states, [20, 21], initial_step=20)


@pytest.mark.parametrize("chosen", [False, True])
def test_other_optimizers_do_not_count(writer: SummaryWriter, chosen: bool) -> None:
    net, other = network(), network()
    head = torch.optim.SGD(net[4].parameters(), lr=0.1)
    body = torch.optim.SGD(net[0].parameters(), lr=0.1)
    handle = hooks.watch(net, writer, optimizer=body if chosen else None)
    train(other, 2)
    assert handle.next_step == 0
    train(net, 3, optimizer=head)
    train(net, 2, optimizer=body)
    assert handle.next_step == (2 if chosen else 3)
    handle.remove()
    train(net, 1, optimizer=head)
    train(net, 1, optimizer=body)
    assert handle.next_step == (2 if chosen else 3)
    assert writer.close()


def test_scaled_gradients_are_logged_as_they_were_used(writer: SummaryWriter, logdir: Path) -> None:
    net = torch.nn.Linear(5, 3)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    handle = hooks.watch(net, writer, every=1, parameters=False, bins=BINS)
    for factor in (1.0, float("inf"), 2.0):  # the second overflows, so it is no step
        scaler.scale((net(torch.arange(10.0).reshape(2, 5)) * factor).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
    assert handle.next_step == 2
    assert writer.close()
    points = logged(logdir)["gradients/weight"]
    assert {step: (point.min, point.max) for step, point in points.items()} == {
        0: (5.0, 13.0),
        1: (10.0, 26.0),
    }


def test_steps_counted_by_hand(writer: SummaryWriter, logdir: Path) -> None:
    net = network()
    handle = hooks.watch(net, writer, every=2, bins=BINS)
    # With an optimizer too, a step is one step.
    states = train(net, 4, before_zero_grad=handle.step)
    assert handle.next_step == 4
    handle.remove()
    handle.step()
    assert handle.next_step == 4
    assert writer.close()
    check_histograms(logdir, states, [0, 2])


def test_a_loop_without_an_optimizer(writer: SummaryWriter, logdir: Path) -> None:
    net = network()
    with hooks.watch(net, writer, every=1, gradients=False, prefix="a/", bins=BINS) as handle:
        for _ in range(2):
            net(torch.ones(4, 5)).sum().backward()
            with torch.no_grad():
                for parameter in net.parameters():
                    parameter -= 0.1 * parameter.grad
            handle.step()
    assert writer.close()
    found = logged(logdir)
    assert set(found) == {f"a/parameters/{name}" for name, _ in net.named_parameters()}
    assert all(list(points) == [0, 1] for points in found.values())


def test_what_cannot_be_logged_is_left_out_with_one_warning(
    writer: SummaryWriter, logdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    net = torch.nn.ModuleDict(
        {
            "words": torch.nn.Embedding(10, 4, sparse=True),
            "late": torch.nn.LazyLinear(3),
        }
    )
    optimizer = torch.optim.SGD(net["words"].parameters(), lr=0.1)
    hooks.watch(net, writer, every=1, bins=BINS, health=True)
    with caplog.at_level(logging.WARNING, "boardd_client"):
        for _ in range(2):
            net["words"](torch.tensor([1, 2])).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert [record.message for record in caplog.records] == [
        "boardd: gradients/words.weight is watched but cannot be logged: values is a torch tensor "
        "of layout torch.sparse_coo: pass values.to_dense()"
    ]
    assert writer.close()
    tags = logged(logdir)
    assert {tag for tag in tags if not tag.startswith(("health/", "custom_"))} == {
        "parameters/words.weight"
    }
    assert list(tags["health/parameters/norm"]) == [0, 1]
    assert not any(tag.startswith("health/gradients") for tag in tags)


def test_the_health_of_a_module_comes_with_one_record_a_step(
    writer: SummaryWriter, logdir: Path
) -> None:
    net = network()
    hooks.watch(net, writer, every=2, bins=BINS, health=True)
    states = train(net, 3)
    assert writer.close()
    assert writer.statistics().accepted == 2 + 1  # and the layout
    check_health(logdir, states, [0, 2])


def test_a_watch_does_not_keep_what_it_watches(writer: SummaryWriter) -> None:
    from torch.optim import optimizer

    net = network()
    handle = hooks.watch(net, writer)
    gc.collect()  # networks of other tests
    before = len(optimizer._global_optimizer_post_hooks)
    train(net, 1)
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None
    assert len(optimizer._global_optimizer_post_hooks) == before - 1
    handle.remove()
    assert writer.close()


def test_wrong_arguments(writer: SummaryWriter) -> None:
    net = network()
    with pytest.raises(TypeError, match=r"module is a SummaryWriter, expected a torch\.nn\.Module"):
        hooks.watch(writer, net)
    with pytest.raises(TypeError, match="writer is a Sequential"):
        hooks.watch(net, net)
    with pytest.raises(TypeError, match="optimizer is a str"):
        hooks.watch(net, writer, optimizer="adam")
    with pytest.raises(ValueError, match="every is 0"):
        hooks.watch(net, writer, every=0)


def test_of_a_dtensor_this_process_s_part_is_logged(
    writer: SummaryWriter, logdir: Path, tmp_path: Path
) -> None:
    tensors = pytest.importorskip("torch.distributed.tensor", reason="needs DTensor")
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        mesh = torch.distributed.init_device_mesh("cpu", (1,))
        net = torch.nn.Linear(5, 3)
        values = net.weight.detach().numpy().copy()
        shards = tensors.distribute_tensor(net.weight.detach(), mesh, [tensors.Shard(0)])
        net.weight = torch.nn.Parameter(shards)
        hooks.watch(net, writer, gradients=False, bins=BINS).step()
    finally:
        torch.distributed.destroy_process_group()
    assert writer.close()
    (histogram,) = logged(logdir)["parameters/weight"].values()
    counts, _ = np.histogram(values.astype(np.float64), bins=BINS)
    assert list(histogram.bucket) == counts.tolist()
