"""Examples of what TensorBoard's plugins show, and how a test writes them."""

from __future__ import annotations

import io
import wave

import numpy as np
from boardd.events import event
from boardd.events.event_pb2 import Summary
from boardd.events.graph import GraphNode
from boardd.runs.event_files.event_file import EventFile

#: tensorboardX's compute_curve for labels 1, 0, 1, 1, 0 and predictions 0.9, 0.4, 0.5, 0.1, 0.8
#: at 5 thresholds, by hand.
CURVE = {
    "tp": [3, 2, 2, 1, 0],
    "fp": [2, 2, 1, 1, 0],
    "tn": [0, 0, 1, 1, 2],
    "fn": [0, 1, 1, 2, 3],
    "precision": [3 / 5, 2 / 4, 2 / 3, 1 / 2, 0],
    "recall": [1, 2 / 3, 2 / 3, 1 / 3, 0],
}

NODES = [
    GraphNode("data", "null"),
    GraphNode("conv/conv_weight", "null"),
    GraphNode("conv/conv", "Convolution", ["data", "conv/conv_weight"], {"param": "{ k : (3,) }"}),
    GraphNode("größe", "Flatten", ["conv/conv"]),
]

HPARAMS: dict[str, bool | float | str] = {
    "lr": 0.125,
    "layers": 3.0,
    "optimizer": "sgd",
    "augment": True,
    "limit": float("inf"),
}

VERTICES = np.random.default_rng(3).normal(size=(2, 5, 3))
FACES = np.array([[[0, 1, 2], [2, 3, 4]], [[4, 3, 0], [1, 0, 4]]])
COLORS = np.arange(30).reshape(2, 5, 3) * 8 + 0.75


def wav_file(samples: np.ndarray, sample_rate: int) -> bytes:
    """A WAV file of 16-bit samples, one column a channel."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(samples.shape[1])
        out.setsampwidth(2)
        out.setframerate(sample_rate)
        out.writeframes(samples.astype("<i2").tobytes())
    return file.getvalue()


def add(writer: EventFile, step: int, value: Summary.Value | list[Summary.Value]) -> None:
    """Writes one event; its wall time is its step plus 100 s."""
    writer.append(event.summary(100.0 + step, step, value))
