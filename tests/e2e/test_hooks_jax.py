"""``log_tree``: what TensorBoard reads of the leaves of a pytree."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import LOADERS, Loader, read_histograms

jax = pytest.importorskip("jax", reason="needs jax", exc_type=ImportError)

import jax.numpy as jnp  # noqa: E402
from boardd_client.hooks.jax import log_tree  # noqa: E402

BINS = 11


@pytest.fixture
def writer(daemon: DaemonProcess, tmp_path: Path) -> SummaryWriter:
    return SummaryWriter(str(tmp_path / "logs"), address=daemon.address)


class Dense(NamedTuple):
    weight: Any
    bias: Any


def network() -> dict[str, Any]:
    first, second = jax.random.split(jax.random.PRNGKey(3))
    return {
        "hidden": Dense(jax.random.normal(first, (5, 6)), jnp.zeros(6)),
        "output": [jax.random.normal(second, (6, 1)), jnp.zeros(1)],
    }


def loss_of(parameters: dict[str, Any], data: Any) -> Any:
    weight, bias = parameters["hidden"]
    hidden = jnp.tanh(data @ weight + bias)
    return jnp.mean((hidden @ parameters["output"][0] + parameters["output"][1]) ** 2)


@jax.jit
def step_of(parameters: dict[str, Any], data: Any) -> Any:
    gradients = jax.grad(loss_of)(parameters, data)
    return jax.tree_util.tree_map(lambda p, g: p - 0.1 * g, parameters, gradients), gradients


def counts(values: Any) -> list[int]:
    return np.histogram(np.asarray(values).astype(np.float64), bins=BINS)[0].tolist()


@pytest.mark.parametrize("loader", LOADERS)
def test_gradients_of_real_training(writer: SummaryWriter, tmp_path: Path, loader: Loader) -> None:
    def train(log: bool) -> list[Any]:
        parameters, states = network(), []
        for step in range(4):
            data = jax.random.normal(jax.random.PRNGKey(step), (8, 5))
            parameters, gradients = step_of(parameters, data)
            if log and step % 2 == 0:
                log_tree(writer, "gradients", gradients, step, bins=BINS)
            states.append((parameters, gradients))
        return states

    states = train(log=True)
    assert writer.close()
    jax.tree_util.tree_map(np.testing.assert_array_equal, states, train(log=False))
    found = read_histograms(tmp_path / "logs", loader)["."]
    leaves = {
        "gradients/hidden/weight": lambda tree: tree["hidden"].weight,
        "gradients/hidden/bias": lambda tree: tree["hidden"].bias,
        "gradients/output/0": lambda tree: tree["output"][0],
        "gradients/output/1": lambda tree: tree["output"][1],
    }
    assert set(found) == set(leaves)
    for tag, leaf_of in leaves.items():
        assert [point.step for point in found[tag]] == [0, 2]
        for point in found[tag]:
            leaf = leaf_of(states[point.step][1])
            assert point.buckets[:, 2].sum() == leaf.size
            if leaf.size > 1:
                assert point.buckets[:, 2].astype(int).tolist() == counts(leaf)


def test_single_arrays_numbers_and_none(writer: SummaryWriter, tmp_path: Path) -> None:
    log_tree(writer, "alone", jnp.arange(4.0), 1, bins=BINS)
    log_tree(writer, "mixed", {"a": None, "b": np.arange(3), "c": 2.5}, jnp.int32(2).item())
    assert writer.close()
    found = read_histograms(tmp_path / "logs")["."]
    assert set(found) == {"alone", "mixed/b", "mixed/c"}
    assert found["alone"][0].buckets[:, 2].astype(int).tolist() == counts(np.arange(4.0))


def test_donated_arrays_are_logged_where_they_are_copied(
    writer: SummaryWriter, tmp_path: Path
) -> None:
    advance = jax.jit(lambda tree: [leaf + 1 for leaf in tree], donate_argnums=0)
    tree = [jnp.arange(1000.0), jnp.arange(10.0)]
    for step in range(3):
        log_tree(writer, "p", tree, step, bins=BINS, copy=True)
        tree = advance(tree)
    assert writer.close()
    found = read_histograms(tmp_path / "logs")["."]
    for index, size in enumerate((1000, 10)):
        points = found[f"p/{index}"]
        assert [point.buckets[0, 0] for point in points] == [0.0, 1.0, 2.0]
        assert [point.buckets[:, 2].sum() for point in points] == [size] * 3


def test_wrong_leaves_are_named_and_nothing_is_logged(writer: SummaryWriter) -> None:
    tree = {"a": jnp.ones(3), "b": {"name": "relu"}}
    with pytest.raises(TypeError, match="tree/b/name"):
        log_tree(writer, "tree", tree, 0)
    with pytest.raises(TypeError, match=r"tree/a is traced"):
        jax.jit(lambda t: log_tree(writer, "tree", t, 0))({"a": jnp.ones(3)})
    with pytest.raises(TypeError, match="writer is a dict"):
        log_tree(tree, "tree", writer, 0)
    with pytest.raises(ValueError, match="bins 'many'"):
        log_tree(writer, "tree", tree, 0, bins="many")
    assert writer.close()
    assert writer.statistics().accepted == 0
