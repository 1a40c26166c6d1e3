"""Gradients that vanish and explode, seen at a glance: a deep network of sigmoids, one of ReLUs.

    python examples/vanishing.py --logdir logs/health
    tensorboard --logdir logs

Both learn the same digits. In the run ``sigmoid`` each layer's gradients are a tenth of those of
the layer above it, so the layers at the bottom do not learn. In ``relu`` the learning rate is
raised without end, until the loss is NaN: the text ``health/first_nan`` names step and layer, and
a warning does so as well. Open the page CUSTOM SCALARS, *Health*.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence

import mxnet as mx
from boardd_client import SummaryWriter
from boardd_client.hooks import gluon as hooks
from mnist import bundled_digits
from mxnet import autograd, gluon
from mxnet.gluon import nn

LAYERS = 6
UNITS = 64
BATCH = 100
#: The learning rate of ``relu`` grows by this factor at each step.
GROWTH = 1.03


def network(activation: str) -> nn.HybridSequential:
    """Returns a perceptron of ``LAYERS`` hidden layers of ``UNITS`` units, initialised."""
    net = nn.HybridSequential(prefix="")
    with net.name_scope():
        for number in range(1, LAYERS + 1):
            net.add(nn.Dense(UNITS, activation=activation, prefix=f"layer{number}_"))
        net.add(nn.Dense(10, prefix="output_"))
    net.initialize(mx.init.Xavier())
    return net


def train(activation: str, options: argparse.Namespace, growth: float) -> None:
    """Trains a network, and logs its loss and its health."""
    mx.random.seed(options.seed)
    digits, _ = bundled_digits()
    batches = gluon.data.DataLoader(digits, BATCH, shuffle=False, last_batch="discard")
    net, loss_of = network(activation), gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.1})
    with (
        SummaryWriter(os.path.join(options.logdir, activation)) as sw,
        hooks.watch(net, sw, trainer=trainer, every=1, bins=30, health=True),
    ):
        step = 0
        while step < options.steps:
            for images, labels in batches:
                with autograd.record():
                    loss = loss_of(net(images), labels).mean()
                loss.backward()
                trainer.step(1)
                trainer.set_learning_rate(trainer.learning_rate * growth)
                sw.add_scalar("loss", loss, step)
                step += 1
                if step >= options.steps:
                    break


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Log the gradients of networks that learn badly.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--logdir", default="logs/health", help="directory of the runs")
    parser.add_argument("--steps", type=int, default=150, help="steps of each network")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights")
    options = parser.parse_args(arguments)
    train("sigmoid", options, growth=1.0)
    train("relu", options, growth=GROWTH)


if __name__ == "__main__":
    main()
