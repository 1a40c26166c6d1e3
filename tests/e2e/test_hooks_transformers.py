"""The hooks for Hugging Face: the Trainer, trained twice and resumed, and Accelerate."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.daemon_process import DaemonProcess
from support.hparams_page import read_hparams_page
from support.tensorboard_reader import open_reader, read_images, read_scalars

torch = pytest.importorskip("torch", reason="needs torch", exc_type=ImportError)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # the libraries' own, at import
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    accelerate = pytest.importorskip("accelerate", reason="needs accelerate")
    from boardd_client.hooks.accelerate import BoarddTracker
    from boardd_client.hooks.transformers import BoarddCallback

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' advice

STEPS = 4
CONFIGURATION = {
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 1,
    "intermediate_size": 8,
    "vocab_size": 16,
    "max_position_embeddings": 8,
}


def trainer(callback: Any, directory: Path, steps: int = STEPS, **arguments: Any) -> Any:
    transformers.set_seed(3)
    model = transformers.BertForSequenceClassification(transformers.BertConfig(**CONFIGURATION))
    data = [{"input_ids": [number, 1, 2], "labels": number % 2} for number in range(8)]
    training = transformers.TrainingArguments(
        output_dir=str(directory / "out"),
        max_steps=steps,
        per_device_train_batch_size=2,
        logging_steps=1,
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        **{"save_strategy": "no", **arguments},
    )
    return transformers.Trainer(
        model, training, train_dataset=data, eval_dataset=data, callbacks=[callback]
    )


def reported(training: Any, name: str) -> list[tuple[int, float]]:
    """Step and value of what the Trainer itself noted."""
    return [
        (entry["step"], pytest.approx(entry[name]))
        for entry in training.state.log_history
        if name in entry
    ]


def test_a_training_and_an_evaluation_after_it(daemon: DaemonProcess, tmp_path: Path) -> None:
    callback = BoarddCallback(daemon.logdir / "run", address=daemon.address)
    training = trainer(callback, tmp_path)
    training.train()
    training.evaluate()
    callback.on_train_end(None, None, None)
    scalars = read_scalars(daemon.logdir)["run"]
    for tag, name in (
        ("train/loss", "loss"),
        ("train/learning_rate", "learning_rate"),
        ("train/train_loss", "train_loss"),
        ("eval/loss", "eval_loss"),
    ):
        assert reported(training, name)
        assert [(point.step, point.value) for point in scalars[tag]] == reported(training, name)
    row = read_hparams_page(daemon.logdir)["run"]
    assert row.hparams["per_device_train_batch_size"] == 2
    assert row.hparams["hub_token"] == "<HUB_TOKEN>"
    assert row.metrics["eval/loss"] == pytest.approx(scalars["eval/loss"][0].value)
    with open_reader(daemon.logdir) as reader:
        texts = reader.tensors("text")["run"]
    assert b'"hidden_size": 8' in texts["model_config"][0].array.flat[0]


def test_a_second_training_is_a_run_of_its_own_and_a_resumed_one_is_not(
    daemon: DaemonProcess, tmp_path: Path
) -> None:
    options = {"save_strategy": "steps", "save_steps": 2}
    callback = BoarddCallback(daemon.logdir / "run", address=daemon.address)
    training = trainer(callback, tmp_path, **options)
    training.evaluate()  # in the run of the training that follows
    training.train()
    first = read_scalars(daemon.logdir)["run"]["train/loss"]
    training.train()
    found = read_scalars(daemon.logdir)
    for run in ("run", "run_2"):
        assert [point.step for point in found[run]["train/loss"]] == [1, 2, 3, 4]
    assert [point.step for point in found["run"]["eval/loss"]] == [0]
    resumed = BoarddCallback(daemon.logdir / "run", address=daemon.address)
    again = trainer(resumed, tmp_path, **options)
    again.train(resume_from_checkpoint=str(tmp_path / "out/checkpoint-2"))
    points = read_scalars(daemon.logdir)["run"]["train/loss"]
    # What was logged after the checkpoint is out of date.
    assert [point.step for point in points] == [1, 2, 3, 4]
    assert points[:2] == first[:2]
    assert points[2].wall_time > first[3].wall_time
    again.train()
    found = read_scalars(daemon.logdir)
    assert [point.step for point in found["run"]["train/loss"]] == [1, 2, 3, 4]
    assert found["run_2"]["train/loss"][-1].wall_time > points[3].wall_time


def test_a_daemon_that_stands_still_holds_no_step_up(daemon: DaemonProcess, tmp_path: Path) -> None:
    """Though the Trainer reports at every step: waits of 30 s each would pass the time limit."""

    class Resuming(transformers.TrainerCallback):  # type: ignore[misc]
        def on_train_end(self, *arguments: Any, **named: Any) -> None:
            stopped.close()

    callback = BoarddCallback(daemon.logdir / "run", address=daemon.address)
    training = trainer(callback, tmp_path, 20)
    training.callback_handler.callbacks.insert(0, Resuming())
    with contextlib.ExitStack() as stopped:
        stopped.enter_context(daemon.stop_cont())
        training.train()
    points = read_scalars(daemon.logdir)["run"]["train/loss"]
    assert [point.step for point in points] == list(range(1, 21))


def test_the_default_directory_lies_beside_the_checkpoints(
    daemon: DaemonProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    callback = BoarddCallback(address=daemon.address)
    trainer(callback, daemon.logdir).evaluate()
    callback.on_train_end(None, None, None)
    (run,) = read_scalars(daemon.logdir)
    assert os.path.dirname(run) == "out/runs"


def test_what_accelerate_logs(daemon: DaemonProcess, caplog: pytest.LogCaptureFixture) -> None:
    tracker = BoarddTracker("run", daemon.logdir, address=daemon.address)
    accelerator = accelerate.Accelerator(cpu=True, log_with=tracker)
    accelerator.init_trackers("project", config={"rate": 0.1, "sizes": [5, 1], "loss": None})
    for step in range(3):
        values = {"loss": torch.tensor(0.5) ** step, "pair": {"a": 1.0, "b": 2.0}, "note": "text"}
        accelerator.log(values, step=step)
    with caplog.at_level(logging.WARNING, "boardd_client"):
        accelerator.log({"table": np.ones(3)}, step=3)
    tracker.log_images({"image": np.zeros((2, 4, 4, 3), np.uint8)}, 3, dataformats="NHWC")
    assert accelerator.get_tracker("boardd", unwrap=True) is tracker.tracker
    accelerator.end_training()
    found = read_scalars(daemon.logdir)
    assert [(point.step, point.value) for point in found["run"]["loss"]] == [
        (0, 1.0),
        (1, 0.5),
        (2, 0.25),
    ]
    assert [point.value for point in found["run/pair/b"]["pair"]] == [2.0] * 3
    assert [point.step for point in read_images(daemon.logdir)["run"]["image"]] == [3]
    assert read_hparams_page(daemon.logdir)["run"].hparams == {"rate": 0.1, "sizes": "[5, 1]"}
    assert [text for text in caplog.messages if "table is reported but cannot" in text]
