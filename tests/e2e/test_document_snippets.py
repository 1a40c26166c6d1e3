"""The Python of the documents runs as it is printed, and logs what its page says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.documents import PYTHON, printed
from support.hparams_page import read_hparams_page
from support.tensorboard_reader import read_run

# Of MXNet's import.
pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")

RUN = "logs/run1"
EPOCHS = 5  # those of the document
BATCHES = 3
BATCH_SIZE = 8
EVERY_BATCH = list(range(EPOCHS * BATCHES))
EPOCH_ENDS = EVERY_BATCH[BATCHES - 1 :: BATCHES]

#: The names that a piece of Python leaves to the reader.
Names = dict[str, Any]


@pytest.fixture
def here(daemon: DaemonProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, in which the daemon's root is ``logs``."""
    monkeypatch.setenv("BOARDD_ADDRESS", daemon.address)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_printed(document: str, beginning: str, names: Names) -> None:
    """Runs a piece of Python, which adds its own names to ``names``."""
    block = printed(document, beginning)
    assert block.language == PYTHON
    exec(compile(block.text, f"{document}: {beginning}", "exec"), names)


def steps(series: Mapping[str, Any]) -> dict[str, list[int]]:
    """The steps that were logged under each tag."""
    return {tag: [point.step for point in points] for tag, points in series.items()}


def samples() -> tuple[np.ndarray, np.ndarray]:
    """Returns float32[BATCHES * BATCH_SIZE, 5], and a class of each, 0 or 1."""
    data = np.random.RandomState(7).randn(BATCHES * BATCH_SIZE, 5).astype(np.float32)
    return data, (data[:, 0] > 0).astype(np.float32)


def gluon_names() -> Names:
    mx = pytest.importorskip("mxnet", reason="MXNet is not installed")
    from mxnet.gluon.contrib.estimator import Estimator

    net = mx.gluon.nn.Dense(2, in_units=5, prefix="dense_")
    net.initialize()
    loss_of = mx.gluon.loss.SoftmaxCrossEntropyLoss()
    dataset = mx.gluon.data.ArrayDataset(*samples())
    batches = mx.gluon.data.DataLoader(dataset, batch_size=BATCH_SIZE)
    trainer = mx.gluon.Trainer(net.collect_params(), "sgd")
    estimator = Estimator(net, loss_of, trainer=trainer, context=mx.cpu())
    estimator.logger.disabled = True
    return {
        "gluon": mx.gluon,
        "autograd": mx.autograd,
        "net": net,
        "loss_of": loss_of,
        "batches": batches,
        "train": batches,
        "validation": batches,
        "estimator": estimator,
        "batch_size": BATCH_SIZE,
    }


def module_names() -> Names:
    mx = pytest.importorskip("mxnet", reason="MXNet is not installed")
    output = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=2, name="dense")
    net = mx.mod.Module(mx.sym.SoftmaxOutput(output, name="softmax"), context=mx.cpu())
    net.logger.disabled = True
    train, validation = (mx.io.NDArrayIter(*samples(), BATCH_SIZE) for _ in range(2))
    return {
        "mx": mx,
        "net": net,
        "train": train,
        "validation": validation,
        "batch_size": BATCH_SIZE,
    }


def torch_names() -> Names:
    torch = pytest.importorskip("torch", reason="needs torch", exc_type=ImportError)
    model = torch.nn.Linear(5, 2)
    data, labels = map(torch.from_numpy, samples())
    return {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), lr=0.1),
        "batches": list(zip(data.split(BATCH_SIZE), labels.long().split(BATCH_SIZE), strict=True)),
        "loss_of": torch.nn.functional.cross_entropy,
    }


def test_parameters_and_gradients_in_gluon(here: Path) -> None:
    names = gluon_names()
    run_printed("docs/hooks.md", "from boardd_client import SummaryWriter", names)
    assert names["writer"].close()
    assert steps(read_run(here / RUN).histograms) == {
        f"{kind}/dense_{name}": [0]
        for kind in ("parameters", "gradients")
        for name in ("weight", "bias")
    }


def test_estimators_and_modules(here: Path) -> None:
    names = gluon_names()
    with SummaryWriter(RUN) as names["writer"]:
        run_printed("docs/hooks.md", "from boardd_client.hooks.gluon import E", names)
    scalars = steps(read_run(here / RUN).scalars)
    assert scalars["training/loss"] == EVERY_BATCH
    assert scalars["training/accuracy"] == scalars["validation/accuracy"] == EPOCH_ENDS

    names = {**gluon_names(), "EstimatorHandler": names["EstimatorHandler"]}
    with SummaryWriter("logs/without_metrics") as names["writer"]:
        run_printed("docs/hooks.md", "from mxnet.gluon.contrib.estimator import M", names)
    assert steps(read_run(here / "logs/without_metrics").scalars) == {"training/loss": EVERY_BATCH}

    names = module_names()
    with SummaryWriter("logs/module") as names["writer"]:
        run_printed("docs/hooks.md", "from boardd_client.hooks import module", names)
    assert steps(read_run(here / "logs/module").scalars) == {
        "training/accuracy": [0, *EPOCH_ENDS],
        "validation/accuracy": EPOCH_ENDS,
    }


@pytest.mark.parametrize("watched_in", ["docs/hooks.md", "docs/health.md"])
def test_pytorch(here: Path, watched_in: str) -> None:
    names = torch_names()
    with SummaryWriter(RUN) as names["writer"]:
        if watched_in == "docs/health.md":
            run_printed(watched_in, "from boardd_client.hooks import torch", names)
            data, labels = names["batches"][0]
            names["loss_of"](names["model"](data), labels).backward()
            names["optimizer"].step()
        else:
            run_printed(watched_in, "from boardd_client.hooks import torch", names)
    logged = read_run(here / RUN)
    assert steps(logged.histograms) == {
        f"{kind}/{name}": [0] for kind in ("parameters", "gradients") for name in ("weight", "bias")
    }
    if watched_in == "docs/health.md":
        assert steps(logged.scalars)["health/gradients/norm"] == [0]


def test_jax(here: Path) -> None:
    jax = pytest.importorskip("jax", reason="needs jax", exc_type=ImportError)

    def loss_of(parameters: Any, batch: Any) -> Any:
        weight, bias = parameters["dense"]
        return ((batch @ weight + bias) ** 2).mean()

    names = {
        "train_step": lambda parameters, batch: (parameters, jax.grad(loss_of)(parameters, batch)),
        "parameters": {"dense": [jax.numpy.ones((5, 2)), jax.numpy.zeros(2)]},
        "batches": np.split(samples()[0], BATCHES),
    }
    with SummaryWriter(RUN) as names["writer"]:
        run_printed("docs/hooks.md", "from boardd_client.hooks.jax import", names)
    assert steps(read_run(here / RUN).histograms) == {
        "gradients/dense/0": [0],
        "gradients/dense/1": [0],
    }


def test_what_needs_no_framework(here: Path) -> None:
    names: Names = {"steps": 3, "train_step": lambda: 0.5, "grad": np.arange(100.0)}
    run_printed("docs/multi-worker.md", "from boardd_client import SummaryWriter", names)
    logged = read_run(here / "logs/run")
    assert steps(logged.scalars) == {"loss": [0, 1, 2]}
    assert steps(logged.histograms) == {"gradients/w": [0, 1, 2]}

    names = {"SummaryWriter": SummaryWriter}
    run_printed("docs/system-metrics.md", "SummaryWriter(", names)
    with SummaryWriter("logs/hparams") as names["sw"]:
        run_printed("docs/system-metrics.md", "sw.add_hparams(", names)
    ((run, row),) = read_hparams_page(here / "logs").items()
    assert run == "hparams"
    assert row.hparams == {
        "lr": 0.1,
        "layers": "[64, 64]",
        "optimizer/name": "adam",
        "optimizer/betas": "[0.9, 0.999]",
    }
