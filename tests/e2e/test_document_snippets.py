"""The Python of the documents runs as it is printed, and logs what its page says."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.documents import PYTHON, printed
from support.examples import require_packages
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

LIBRARIES = "docs/integrations.md"
KERAS = """
import keras, numpy as np
model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1)])
model.compile("sgd", "mse")
x = y = np.ones((400, 5), np.float32)
"""

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


WATCHED = {
    f"{kind}/{name}": [0] for kind in ("parameters", "gradients") for name in ("weight", "bias")
}


def test_pytorch(here: Path) -> None:
    names = torch_names()
    with SummaryWriter(RUN) as names["writer"]:
        run_printed("docs/hooks.md", "from boardd_client.hooks import torch", names)
    assert steps(read_run(here / RUN).histograms) == WATCHED


def test_health(here: Path) -> None:
    names = torch_names()
    with SummaryWriter(RUN) as names["writer"]:
        run_printed("docs/health.md", "from boardd_client.hooks import torch", names)
        data, labels = names["batches"][0]
        names["loss_of"](names["model"](data), labels).backward()
        names["optimizer"].step()
    logged = read_run(here / RUN)
    assert steps(logged.histograms) == WATCHED
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


def imported(*names: str) -> Any:
    """The last of these modules, which advise and warn at import; skips where one is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [pytest.importorskip(name, exc_type=ImportError) for name in names][-1]


@pytest.mark.filterwarnings("ignore")
def test_lightning(here: Path) -> None:
    lightning = imported("torch", "lightning")
    import torch

    class Network(lightning.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(5, 1)

        def training_step(self, batch: Any, number: int) -> Any:
            loss = self.layer(batch).square().mean()
            self.log("loss", loss)
            return loss

        def test_step(self, batch: Any, number: int) -> None:
            self.log("test/loss", self.layer(batch).square().mean())

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), 0.1)

    names = {
        "lightning": lightning,
        "model": Network(),
        "data": torch.utils.data.DataLoader(torch.ones(400, 5), batch_size=BATCH_SIZE),
    }
    run_printed(LIBRARIES, "from boardd_client.hooks.lightning", names)
    logged = steps(read_run(here / "logs/mnist/version_0").scalars)
    assert logged["loss"] == [49, 99, 149]
    assert logged["test/loss"] == [150]


@pytest.mark.filterwarnings("ignore")
def test_transformers_and_accelerate(here: Path) -> None:
    transformers = imported("torch", "accelerate", "transformers")
    import accelerate
    import torch

    configuration = transformers.BertConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        vocab_size=16,
        max_position_embeddings=8,
    )
    names = {
        "Trainer": transformers.Trainer,
        "TrainingArguments": transformers.TrainingArguments,
        "model": transformers.BertForSequenceClassification(configuration),
        "data": [{"input_ids": [number % 16, 1, 2], "labels": number % 2} for number in range(80)],
    }
    run_printed(LIBRARIES, "from boardd_client.hooks.transformers", names)
    assert steps(read_run(here / RUN).scalars)["train/loss"] == [10, 20, 30]

    names = {"Accelerator": accelerate.Accelerator, "loss": torch.tensor(0.5), "step": 7}
    (here / RUN).rename(here / "logs/transformers")
    run_printed(LIBRARIES, "from boardd_client.hooks.accelerate", names)
    assert steps(read_run(here / RUN).scalars)["loss"] == [7]


@pytest.mark.filterwarnings("ignore")
def test_ignite(here: Path) -> None:
    engine = imported("torch", "ignite", "ignite.engine")
    import torch

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], 0.1)
    names = {
        "trainer": engine.Engine(lambda engine, batch: batch),
        "Events": engine.Events,
        "optimizer": optimizer,
        "data": [0.5] * BATCHES,
    }
    run_printed(LIBRARIES, "from boardd_client.hooks.ignite", names)
    every = list(range(1, 3 * BATCHES + 1))
    assert steps(read_run(here / RUN).scalars) == {"training/loss": every, "lr/group_0": every}


def test_keras(here: Path) -> None:
    require_packages("torch", "keras")
    block = printed(LIBRARIES, "from boardd_client.hooks.keras")
    done = subprocess.run(
        [sys.executable, "-c", KERAS + block.text],
        env={**os.environ, "KERAS_BACKEND": "torch"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    logged = read_run(here / RUN / "train")
    assert steps(logged.scalars)["epoch_loss"] == [0, 1, 2]
    assert logged.histograms
    assert steps(read_run(here / RUN / "validation").scalars)["epoch_loss"] == [0, 1, 2]


def test_any_other_library(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensorboard = imported("torch", "torch.utils.tensorboard")
    monkeypatch.setattr(tensorboard, "SummaryWriter", None)  # which is put back afterwards
    run_printed(LIBRARIES, "import torch.utils.tensorboard", {})
    with tensorboard.SummaryWriter(RUN) as writer:
        writer.add_scalar("loss", 0.5, 3)
    assert steps(read_run(here / RUN).scalars) == {"loss": [3]}
