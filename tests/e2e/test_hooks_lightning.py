"""The hook for Lightning: what real training logs through it, in all of its phases."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import pytest
from boardd_client.torch import SummaryWriter as TorchWriter
from support.daemon_process import DaemonProcess
from support.hparams_page import read_hparams_page
from support.tensorboard_reader import event_files, open_reader, read_run, read_scalars

torch = pytest.importorskip("torch", reason="needs torch", exc_type=ImportError)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Lightning's own, at import
    L = pytest.importorskip("lightning", reason="needs lightning", exc_type=ImportError)
    from boardd_client.hooks.lightning import BoarddLogger
    from lightning.pytorch.loggers import TensorBoardLogger

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice

STEPS = 4  # of an epoch


class Network(L.LightningModule):  # type: ignore[misc]
    def __init__(self, rate: float = 0.1, sizes: Any = (5, 1), where: Any = Path("data")) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(*sizes)
        self.example_input_array = torch.ones(2, 5)
        self.losses: list[float] = []

    def forward(self, data: Any) -> Any:
        return self.layer(data)

    def training_step(self, batch: Any, number: int) -> Any:
        loss = self(batch).square().mean()
        self.log("loss", loss)
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch: Any, number: int) -> None:
        self.log("validation/loss", self(batch).square().mean())

    def test_step(self, batch: Any, number: int) -> None:
        self.log("test loss", 7.0)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), self.hparams.rate)


def trainer(logger: Any, tmp_path: Path, epochs: int = 2) -> Any:
    return L.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=logger,
        log_every_n_steps=1,
        default_root_dir=tmp_path,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def batches() -> Any:
    data = torch.arange(40.0 * STEPS).reshape(-1, 5) / 100
    return torch.utils.data.DataLoader(data, batch_size=8)


def test_a_fit_and_then_a_test(daemon: DaemonProcess, tmp_path: Path) -> None:
    logger = BoarddLogger(daemon.logdir, log_graph=True, address=daemon.address)
    net = Network()
    training = trainer(logger, tmp_path)
    training.fit(net, batches(), batches())
    training.test(net, batches(), verbose=False)
    directory = daemon.logdir / "lightning_logs/version_0"
    # Lightning puts its checkpoints beside.
    assert list(directory.glob("checkpoints/*.ckpt"))
    scalars = read_scalars(directory)["."]
    assert [(point.step, point.value) for point in scalars["loss"]] == [
        (step, pytest.approx(loss)) for step, loss in enumerate(net.losses)
    ]
    assert [point.step for point in scalars["validation/loss"]] == [STEPS - 1, 2 * STEPS - 1]
    assert [point.value for point in scalars["test loss"]] == [7.0]
    with open_reader(directory) as reader:
        assert list(reader.blobs("graphs")) == ["."]
    row = read_hparams_page(daemon.logdir)["lightning_logs/version_0"]
    assert row.hparams == {"rate": 0.1, "sizes": "[5, 1]", "where": "data"}
    assert row.metrics["test loss"] == 7.0
    # The loss after the last phase reaches a file of its own.
    assert len(event_files(directory)) == 2


def test_each_logger_has_a_version_of_its_own(daemon: DaemonProcess) -> None:
    loggers = [
        BoarddLogger(daemon.logdir, "net", prefix="a", address=daemon.address) for _ in range(3)
    ]
    for number, logger in enumerate(loggers):
        logger.log_metrics({"x": torch.tensor(0.5), "pair": {"one": 1.0, "two": 2.0}}, step=number)
        logger.save()
    named = BoarddLogger(daemon.logdir, None, "special", address=daemon.address)
    named.experiment.add_scalar("by hand", 3.0, 1)
    for logger in (*loggers, named):
        logger.finalize("success")
    found = read_scalars(daemon.logdir)
    for number in range(3):
        points = found[f"net/version_{number}"]["a-x"]
        assert [(point.step, point.value) for point in points] == [(number, 0.5)]
    assert found["net/version_2/a-pair/two"]["a-pair"][0].value == 2.0
    assert list(found["special"]) == ["by hand"]


def test_only_rank_zero_logs_and_waits_for_no_other(
    daemon: DaemonProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning.pytorch.utilities import rank_zero_only

    for name, value in {"RANK": "0", "WORLD_SIZE": "4", "LOCAL_RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    first = BoarddLogger(daemon.logdir, version="run", address=daemon.address)
    other = BoarddLogger(daemon.logdir, version="other", address=daemon.address)
    first.log_metrics({"x": 1.0}, step=0)
    first.finalize("success")
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    other.log_metrics({"x": 1.0}, step=0)
    other.log_hyperparams({"rate": 0.1})
    other.experiment.add_scalar("x", 1.0)
    other.finalize("success")
    assert list(read_scalars(daemon.logdir)) == ["lightning_logs/run"]


def test_what_cannot_be_logged_is_left_out_with_a_warning(
    daemon: DaemonProcess, caplog: pytest.LogCaptureFixture
) -> None:
    logger = BoarddLogger(daemon.logdir, version="run", log_graph=True, address=daemon.address)
    with caplog.at_level(logging.WARNING, "boardd_client"):
        for step in range(2):
            logger.log_metrics({"x": torch.ones(3), "y": 2.0}, step)
        logger.log_graph(torch.nn.Linear(5, 1))
    logger.finalize("success")
    told = [text for text in caplog.messages if "cannot be logged" in text]
    names = [text.partition(" is reported")[0] for text in told]
    assert names == ["boardd: x", "boardd: the graph"]
    assert list(read_run(Path(logger.log_dir)).scalars) == ["y"]


def test_lightnings_own_logger_with_our_writer_inside(
    daemon: DaemonProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ``docs/integrations.md`` shows it."""
    import torch.utils.tensorboard

    monkeypatch.setenv("BOARDD_ADDRESS", daemon.address)
    monkeypatch.setattr(torch.utils.tensorboard, "SummaryWriter", TorchWriter)
    logger = TensorBoardLogger(str(daemon.logdir), log_graph=True)
    net = Network()
    training = trainer(logger, tmp_path, epochs=1)
    training.fit(net, batches(), batches())
    training.test(net, batches(), verbose=False)
    directory = daemon.logdir / "lightning_logs/version_0"
    scalars = read_scalars(directory)["."]
    assert [point.value for point in scalars["loss"]] == pytest.approx(net.losses)
    assert [point.value for point in scalars["test loss"]] == [7.0]
    (row,) = read_hparams_page(daemon.logdir).values()
    assert row.hparams["rate"] == 0.1
    assert row.metrics == {"hp_metric": -1.0}
