"""The peers: the environment of each, the values it takes, and what to know about it."""

from __future__ import annotations

from dataclasses import dataclass, field

from comparison import environments
from comparison.environments import Environment

#: Kinds of input by workload.
Takes = dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Entry:
    """A column of the tables.

    ``module`` is beneath ``comparison.peers``, with the class if it is not ``Peer``.
    ``slow``: workloads whose calls take so long that one call, in the first round, must do.
    ``note``: where its calls differ from the others'.
    """

    module: str
    environment: Environment
    takes: Takes
    slow: frozenset[str] = field(default_factory=frozenset)
    note: str = ""


_TENSORS: Takes = {
    "histograms": ("numpy", "mxnet", "mxnet-queued"),
    "images": ("numpy", "mxnet"),
}
_SCALARS: Takes = {"scalars": ("python", "mxnet"), "scalar-sets": ("python",)}
_EMBEDDINGS: Takes = {"embeddings": ("numpy", "mxnet")}
_WITHOUT_MXNET: Takes = {
    "scalars": ("python",),
    "scalar-sets": ("python",),
    "histograms": ("numpy",),
    "images": ("numpy",),
}

LOGGERS: dict[str, Entry] = {
    "boardd": Entry("boardd", environments.BOARDD, _SCALARS | _TENSORS | _EMBEDDINGS),
    "MXBoard": Entry("mxboard", environments.MXBOARD, _SCALARS | _TENSORS | _EMBEDDINGS),
    "tensorboardX": Entry(
        "tensorboardx",
        environments.TENSORBOARDX,
        _SCALARS | _TENSORS | _EMBEDDINGS,
        note="labels of an embedding are made a list first, as it wants them",
    ),
    "torch": Entry(
        "torch",
        environments.TORCH,
        _WITHOUT_MXNET | {"embeddings": ("numpy",)},
        note="labels of an embedding are made a list first, as it wants them",
    ),
    "CLU": Entry(
        "clu",
        environments.CLU,
        _WITHOUT_MXNET,
        note="`AsyncWriter` around its torch writer, for images around its TensorFlow writer, "
        "which writes 64 images instead of a grid; arrays wait, not copied, in an unbounded "
        "queue, so that a later write to one changes what is logged; histograms have bins of "
        'NumPy\'s rule "auto", merged to at most 1000. Its TensorFlow writer spends ten times '
        "as much on a scalar, and would need 32 GB for one of these histograms. It has no "
        "embeddings and needs a newer NumPy than MXNet",
    ),
    "wandb": Entry(
        "wandb",
        environments.WANDB,
        _SCALARS | _TENSORS | {"embeddings": ("numpy",)},
        slow=frozenset({"embeddings"}),
        note="offline; an NDArray is given as `asnumpy()`; histograms have 512 bins, its most; "
        "the grid of images is made with NumPy; an embedding is a table with a column for each "
        "dimension, one call in the first round",
    ),
    "Aim": Entry(
        "aim",
        environments.AIM,
        _SCALARS | _TENSORS,
        note="an NDArray is given as `asnumpy()`; histograms have 512 bins, its most; the grid of "
        "images is made with NumPy; it has no embeddings",
    ),
    "Rerun": Entry(
        "rerun",
        environments.RERUN,
        _WITHOUT_MXNET,
        note="saves to a file; histograms are `numpy.histogram` and a bar chart; the grid of "
        "images is made with NumPy and stored uncompressed; 100 scalars are one batch, whose "
        "names are logged once. It has no embeddings and needs a newer NumPy than MXNet",
    ),
}

FLOORS: dict[str, Entry] = {
    "floor: empty call": Entry("floor.Empty", environments.BOARDD, _SCALARS),
    "floor: deque append": Entry(
        "floor.Append",
        environments.BOARDD,
        {"scalars": ("python",), "scalar-sets": ("python",)},
    ),
    "floor: copy": Entry(
        "floor.Copy",
        environments.BOARDD,
        {"histograms": ("numpy",), "images": ("numpy",), "embeddings": ("numpy",)},
    ),
    "floor: MXNet's copy": Entry(
        "floor.EngineCopy",
        environments.BOARDD,
        {
            "histograms": ("mxnet", "mxnet-queued"),
            "images": ("mxnet",),
            "embeddings": ("mxnet",),
        },
    ),
    "floor: min and max": Entry(
        "floor.MinMax", environments.BOARDD, {"histograms": ("numpy",), "images": ("numpy",)}
    ),
    "floor: wait for the value": Entry(
        "floor.Wait", environments.BOARDD, {"histograms": ("mxnet-queued",)}
    ),
}

PEERS: dict[str, Entry] = LOGGERS | FLOORS
