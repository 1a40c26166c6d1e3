"""MXBoard's third example: what the first layers of three convolutional networks look for.

    python examples/filters.py --logdir logs/filters
    tensorboard --logdir logs

Then open the IMAGES page: the filters of each network, and its feature maps of one photograph.

With ``--pretrained`` the networks are Inception-V3, ResNet-152 and VGG16 with the weights of
MXNet's model zoo, fetched if they are not on disk. Otherwise, or if they cannot be fetched, three
small networks learn here from crops of two photographs that ship with scikit-learn. One tells
which side is up, one how the colours were swapped, one where in which photograph a crop was.
Training ends when their filters are smooth; each image's slider shows how they came to be.
"""

from __future__ import annotations

import abc
import argparse
import itertools
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

# Layers this small gain nothing from several threads, and lose much if other work wants the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import mxnet as mx
import numpy as np
from boardd_client import SummaryWriter
from mxnet import autograd, gluon
from mxnet.gluon import nn

FILTERS_TAG = "filters"
FEATURE_MAPS_TAG = "feature_maps"
PHOTOGRAPH_TAG = "photograph"
PHOTOGRAPHS = ("china", "flower")

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)

CONTRAST_WINDOW = 31  #: pixels, over which brightness and contrast are evened out
FLATTEST = 0.25  #: an area with a deviation below this (of 1) counts as flat and stays so
CROP_SIDE = 31  #: pixels of the crops that networks learn from
BATCH_SIZE = 64
FILTERS = 64  #: of each network's first layer
CHECK_STEPS = 50  #: between two looks at the filters
PLACES = (2, 4)  #: rows and columns of a photograph to be told apart
MAP_WIDTH = 160  #: pixels of a feature map, at most; larger ones are averaged
GRID_COLUMNS = 8


def photograph(name: str) -> np.ndarray:
    """Returns ``china`` or ``flower``, photographs in scikit-learn, as uint8[427, 640, 3]."""
    from sklearn.datasets import load_sample_image

    return load_sample_image(f"{name}.jpg")


def even_contrast(pixels: np.ndarray) -> np.ndarray:
    """Evens out brightness and contrast, so that edges count alike in light and shade.

    Takes uint8[height, width, 3], returns float32[3, height, width] whose mean around each
    pixel is about 0 in every channel, and whose deviation over all channels is about 1.
    """

    def mean_around(values: mx.nd.NDArray) -> mx.nd.NDArray:
        return mx.nd.Pooling(
            values,
            kernel=(CONTRAST_WINDOW, CONTRAST_WINDOW),
            pad=(CONTRAST_WINDOW // 2, CONTRAST_WINDOW // 2),
            pool_type="avg",
            count_include_pad=False,
        )

    image = mx.nd.array(pixels.transpose(2, 0, 1)[np.newaxis] / np.float32(255))
    image = image - mean_around(image)
    variance = mean_around(image.square().mean(axis=1, keepdims=True))
    deviation = variance.sqrt()
    return (image / (deviation + FLATTEST * deviation.mean()))[0].asnumpy()


class Crops:
    """Random square crops of the photographs, at full and at half size, mirrored or not."""

    def __init__(self, side: int, random: np.random.RandomState) -> None:
        self._side = side
        self._random = random
        self._images: list[np.ndarray] = []  # of each photograph: whole, half
        for name in PHOTOGRAPHS:
            image = even_contrast(photograph(name))
            height, width = (size // 2 for size in image.shape[1:])
            quarters = image[:, : 2 * height, : 2 * width].reshape(3, height, 2, width, 2)
            self._images += [image, quarters.mean(axis=(2, 4))]

    def draw(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns float32[count, 3, side, side], and of each the class of its place, int."""
        rows, columns = PLACES
        crops = np.empty((count, 3, self._side, self._side), np.float32)
        places = np.empty(count, np.int32)
        for i in range(count):
            which = self._random.randint(len(self._images))
            image = self._images[which]
            last_y, last_x = (size - self._side for size in image.shape[1:])
            y, x = self._random.randint(last_y + 1), self._random.randint(last_x + 1)
            crop = image[:, y : y + self._side, x : x + self._side]
            crops[i] = crop[:, :, :: self._random.choice((-1, 1))]
            row, column = y * rows // (last_y + 1), x * columns // (last_x + 1)
            places[i] = ((which // 2) * rows + row) * columns + column
        return crops, places


class Task(abc.ABC):
    """A small convolutional classifier, and the classes that it must tell apart."""

    classes: int
    kernel: int  #: pixels of a filter's side

    def __init__(self, random: np.random.RandomState) -> None:
        self.random = random
        self.crops = Crops(CROP_SIDE, random)
        self.first = nn.HybridSequential()
        self.first.add(
            nn.Conv2D(FILTERS, self.kernel, strides=2, in_channels=3, use_bias=False),
            nn.BatchNorm(),
            nn.Activation("relu"),
        )
        self.rest = nn.HybridSequential()
        self.rest.add(
            nn.MaxPool2D(3, 2),
            nn.Conv2D(32, 3, use_bias=False),
            nn.BatchNorm(),
            nn.Activation("relu"),
            nn.Dense(self.classes),
        )
        self.first.initialize(mx.init.Normal(0.01))
        self.rest.initialize(mx.init.Xavier())
        parameters = self.first.collect_params()
        parameters.update(self.rest.collect_params())
        self.cross_entropy = gluon.loss.SoftmaxCrossEntropyLoss()
        for part in (self.first, self.rest):
            part.hybridize()
        # Ahead of a batch normalisation, decay makes filters forget the noise they began as.
        self.trainer = gluon.Trainer(
            parameters, "sgd", {"learning_rate": 0.02, "momentum": 0.9, "wd": 0.04}
        )

    @abc.abstractmethod
    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns crops, float32[BATCH_SIZE, 3, CROP_SIDE, CROP_SIDE], and their classes."""

    def step(self) -> mx.nd.NDArray:
        """Learns from one batch and returns its loss: one element, still computing."""
        crops, classes = map(mx.nd.array, self.batch())
        with autograd.record():
            loss = self.cross_entropy(self.rest(self.first(crops)), classes).mean()
        loss.backward()
        self.trainer.step(1)
        return loss


class Rotation(Task):
    """How many quarter turns was a crop turned by?"""

    classes = 4
    kernel = 7

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns crops turned, and by how many quarters."""
        crops, _ = self.crops.draw(BATCH_SIZE)
        turns = self.random.randint(self.classes, size=BATCH_SIZE)
        for quarters in range(self.classes):
            turned = turns == quarters
            crops[turned] = np.rot90(crops[turned], quarters, axes=(2, 3))
        return crops, turns


class Colour(Task):
    """How were the three colours of a crop swapped?"""

    orders = np.array(list(itertools.permutations(range(3))))
    classes = len(orders)
    kernel = 7

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns crops with swapped channels, and the numbers of their orders."""
        crops, _ = self.crops.draw(BATCH_SIZE)
        swaps = self.random.randint(self.classes, size=BATCH_SIZE)
        return crops[np.arange(BATCH_SIZE)[:, np.newaxis], self.orders[swaps]], swaps


class Place(Task):
    """In which photograph was a crop, and in which part of it?"""

    classes = len(PHOTOGRAPHS) * PLACES[0] * PLACES[1]
    kernel = 5

    def batch(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns crops, and the numbers of their places."""
        return self.crops.draw(BATCH_SIZE)


TASKS = {"rotation": Rotation, "colour": Colour, "place": Place}


class Smoothness(NamedTuple):
    """How alike neighbouring weights of the filters are: 0 for noise, 1 for flat ones."""

    median: float
    tenth: float  #: nine tenths of the filters are smoother


def smoothness(filters: np.ndarray) -> Smoothness:
    """Measures filters [count, channels, height, width].

    Of each it is 1 minus the mean squared difference of neighbours over twice the mean square.
    """
    differences = [np.square(np.diff(filters, axis=axis)).mean(axis=(1, 2, 3)) for axis in (2, 3)]
    each = 1 - np.mean(differences, axis=0) / (2 * np.square(filters).mean(axis=(1, 2, 3)))
    return Smoothness(float(np.median(each)), float(np.quantile(each, 0.1)))


def first_convolution(block: nn.Block) -> nn.Conv2D:
    """Returns the convolution that a network begins with."""
    while not isinstance(block, nn.Conv2D):
        block = block[0]
    return block


def log_filters(sw: SummaryWriter, name: str, layer: nn.Conv2D, global_step: int) -> None:
    # Each filter is stretched to the whole range on its own, because strengths differ much.
    sw.add_image(
        f"{FILTERS_TAG}/{name}",
        layer.weight.data(),
        global_step,
        normalize="image",
        nrow=GRID_COLUMNS,
        padding=1,
        pad_value=255,
    )


def log_feature_maps(
    sw: SummaryWriter, name: str, layer: nn.Conv2D, image: np.ndarray, global_step: int
) -> None:
    """Logs how each filter of ``layer`` responds to an image [3, height, width].

    The response is taken before any activation: grey is none, light and dark are opposite.
    """
    maps = layer(mx.nd.array(image[np.newaxis]))
    times = -(-maps.shape[3] // MAP_WIDTH)
    maps = mx.nd.Pooling(maps, kernel=(times, times), stride=(times, times), pool_type="avg")
    sw.add_image(
        f"{FEATURE_MAPS_TAG}/{name}",
        maps.swapaxes(0, 1),  # one grey image for each filter
        global_step,
        normalize="image",
        nrow=GRID_COLUMNS,
    )


def train(
    sw: SummaryWriter, name: str, task: Task, *, target: float, max_steps: int, image: np.ndarray
) -> None:
    """Trains until the median smoothness is ``target``, and logs filters and feature maps."""
    began = time.monotonic()
    layer = first_convolution(task.first)
    log_filters(sw, name, layer, 0)
    for step in range(1, max_steps + 1):
        sw.add_scalar(f"loss/{name}", task.step(), step)
        if step % CHECK_STEPS == 0 or step == max_steps:
            measured = smoothness(layer.weight.data().asnumpy())
            sw.add_scalar(f"smoothness/{name}", measured.median, step)
            log_filters(sw, name, layer, step)
            if measured.median >= target:
                break
    log_feature_maps(sw, name, layer, image, step)
    print(
        f"{name}: smoothness {measured.median:.2f} (target {target:g}) after {step} steps, "
        f"{time.monotonic() - began:.0f} s",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Log the filters and feature maps of three convolutional networks.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--logdir", default="logs/filters", help="directory of the run")
    parser.add_argument(
        "--photograph", choices=PHOTOGRAPHS, default="china", help="photograph to look at"
    )
    parser.add_argument(
        "--smoothness", type=float, default=0.75, help="of the filters, at which training ends"
    )
    parser.add_argument("--max-steps", type=int, default=600, help="batches for each network")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights and crops")
    parser.add_argument(
        "--pretrained",
        action="store_true",
        help="use the model zoo's networks, fetched if they are missing",
    )
    parser.add_argument(
        "--root",
        type=Path,
        help="directory of the model zoo's weights; without --pretrained none is fetched "
        "(with it: default $MXNET_HOME/models)",
    )
    parser.add_argument(
        "--timeout-secs", type=float, default=10, help="longest wait for the model zoo's server"
    )
    options = parser.parse_args(arguments)
    if options.max_steps < 1:
        parser.error(f"--max-steps {options.max_steps}: expected at least 1")

    np.random.seed(options.seed)
    mx.random.seed(options.seed)
    pixels = photograph(options.photograph)

    networks = {}
    if options.pretrained or options.root:
        import pretrained

        root = options.root or Path(mx.base.data_dir()) / "models"
        try:
            networks = pretrained.features(
                root.expanduser(), may_fetch=options.pretrained, timeout_secs=options.timeout_secs
            )
        except (OSError, ValueError) as error:
            print(f"no pretrained networks ({error}); training small ones", file=sys.stderr)

    with SummaryWriter(logdir=options.logdir, flush_secs=5) as sw:
        sw.add_image(PHOTOGRAPH_TAG, pixels.transpose(2, 0, 1), 0)
        if networks:
            image = (pixels / np.float32(255) - IMAGENET_MEAN) / IMAGENET_DEVIATION
            for name, network in networks.items():
                layer = first_convolution(network)
                log_filters(sw, name, layer, 0)
                log_feature_maps(sw, name, layer, image.transpose(2, 0, 1), 0)
            return
        image = even_contrast(pixels)
        for name, task in TASKS.items():
            train(
                sw,
                name,
                task(np.random.RandomState(options.seed)),
                target=options.smoothness,
                max_steps=options.max_steps,
                image=image,
            )


if __name__ == "__main__":
    main()
