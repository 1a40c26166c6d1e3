"""Three nets in MXNet Gluon and a loop that trains them on digits.

The loop is an ordinary one: a hybridized net with its loss, ``backward``,
``Trainer.step``; every ``SYNC_STEPS`` steps the loss is read on the training
thread, as a loop does that prints it, so that MXNet's queue stays short. The
batches lie in memory, because loading is not what is measured.
"""

from __future__ import annotations

from typing import Any

import mxnet as mx
from mxnet import autograd, gluon
from mxnet.gluon import nn

from sustained.digits import SIDE, Digits

#: Steps between two reads of the loss.
SYNC_STEPS = 10

BATCH_SIZES = {"mlp": 32, "conv": 64, "transformer": 8}
NETS = tuple(BATCH_SIZES)

#: Of the Transformer.
WIDTH = 64
LAYERS = 18

LEARNING_RATE = 0.05
MOMENTUM = 0.9


class Trained(gluon.HybridBlock):
    """A classifier with its cross-entropy, the batch's mean: float32[1]."""

    def __init__(self, classifier: nn.HybridSequential) -> None:
        super().__init__()
        with self.name_scope():
            self.classifier = classifier
            self.cross_entropy = gluon.loss.SoftmaxCrossEntropyLoss()

    def hybrid_forward(self, F: Any, images: Any, labels: Any) -> Any:
        """The mean loss of a batch."""
        return self.cross_entropy(self.classifier(images), labels).mean()


def mlp() -> nn.HybridSequential:
    """784-128-64-10, 109,386 parameters in 6 arrays."""
    net = nn.HybridSequential(prefix="mlp_")
    with net.name_scope():
        net.add(nn.Dense(128, activation="relu"), nn.Dense(64, activation="relu"), nn.Dense(10))
    return net


def conv() -> nn.HybridSequential:
    """Two convolutions and two dense layers, 129,378 parameters in 8 arrays."""
    net = nn.HybridSequential(prefix="conv_")
    with net.name_scope():
        net.add(
            nn.Conv2D(20, kernel_size=5, activation="relu"),
            nn.MaxPool2D(2),
            nn.Conv2D(50, kernel_size=5, activation="relu"),
            nn.MaxPool2D(2),
            nn.Dense(128, activation="relu"),
            nn.Dense(10),
        )
    return net


class EncoderLayer(gluon.HybridBlock):
    """One layer of a Transformer with ``width`` features: 16 arrays."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._scale = width**-0.5
        with self.name_scope():
            self.queries, self.keys, self.values, self.mixed = (
                nn.Dense(width, flatten=False, in_units=width) for _ in range(4)
            )
            self.attention_norm, self.dense_norm = (
                nn.LayerNorm(in_channels=width) for _ in range(2)
            )
            self.wide = nn.Dense(4 * width, activation="relu", flatten=False, in_units=width)
            self.narrow = nn.Dense(width, flatten=False, in_units=4 * width)

    def hybrid_forward(self, F: Any, tokens: Any) -> Any:
        """Tokens, float32[batch, length, width], to the next layer's."""
        normed = self.attention_norm(tokens)
        scores = F.batch_dot(self.queries(normed), self.keys(normed), transpose_b=True)
        attention = F.softmax(scores * self._scale)
        tokens = tokens + self.mixed(F.batch_dot(attention, self.values(normed)))
        return tokens + self.narrow(self.wide(self.dense_norm(tokens)))


def transformer() -> nn.HybridSequential:
    """18 layers over the rows of an image, 0.9 million parameters in 294 arrays."""
    net = nn.HybridSequential(prefix="transformer_")
    with net.name_scope():
        net.add(nn.Dense(WIDTH, flatten=False))
        for _ in range(LAYERS):
            net.add(EncoderLayer(WIDTH))
        net.add(nn.LayerNorm(), nn.Dense(64, activation="relu"), nn.Dense(10))
    return net


class Loop:
    """Training of the net ``name`` (of ``NETS``), step by step, for ever."""

    def __init__(self, name: str, digits: Digits) -> None:
        mx.random.seed(0)
        batch = BATCH_SIZES[name]
        shape = {
            "mlp": (batch, SIDE * SIDE),
            "conv": (batch, 1, SIDE, SIDE),
            "transformer": (batch, SIDE, SIDE),
        }[name]
        self._batches = [
            (
                mx.nd.array(digits.images[first : first + batch].reshape(shape)),
                mx.nd.array(digits.labels[first : first + batch]),
            )
            for first in range(0, len(digits.labels) - batch + 1, batch)
        ]
        self._net = Trained({"mlp": mlp, "conv": conv, "transformer": transformer}[name]())
        self._net.initialize(mx.init.Xavier())
        self._net.hybridize(static_alloc=True, static_shape=True)
        parameters = self._net.collect_params()
        self._trainer = gluon.Trainer(
            parameters, "sgd", {"learning_rate": LEARNING_RATE, "momentum": MOMENTUM}
        )
        self._net(*self._batches[0]).wait_to_read()  # infers the shapes
        #: The gradients by parameter name; the same arrays at every step.
        self.gradients: dict[str, mx.nd.NDArray] = {
            parameter_name: parameter.grad() for parameter_name, parameter in parameters.items()
        }
        self.steps = 0  #: made so far

    def step(self) -> mx.nd.NDArray:
        """One step; returns the loss, float32[1], which MXNet may still be computing."""
        images, labels = self._batches[self.steps % len(self._batches)]
        with autograd.record():
            loss = self._net(images, labels)
        loss.backward()
        self._trainer.step(1)  # the loss is a mean already
        self.steps += 1
        if self.steps % SYNC_STEPS == 0:
            loss.asscalar()
        return loss

    def wait(self) -> None:
        """Waits until all is computed."""
        mx.nd.waitall()
