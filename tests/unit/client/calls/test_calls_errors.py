"""Wrong arguments of every call raise at the call, and nothing is logged."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from boardd_client import SummaryWriter

ZEROS = np.zeros
HUGE = np.broadcast_to(np.uint8(0), (1 << 14, 1 << 14))


@pytest.fixture
def sw(monkeypatch: pytest.MonkeyPatch) -> Iterator[SummaryWriter]:
    """A writer whose arguments are wrong never begins a session, so it needs no daemon."""
    monkeypatch.setenv("BOARDD_AUTOSTART", "0")
    with SummaryWriter("/logs", address="unix:/nonexistent/socket") as writer:
        yield writer
        assert writer.statistics().accepted == 0


class Call:
    """A call of a writer; its text is the test's name."""

    def __init__(self, name: str, /, *arguments: Any, **options: Any) -> None:
        self.name, self.arguments, self.options = name, arguments, options

    def __call__(self, sw: SummaryWriter) -> None:
        getattr(sw, self.name)(*self.arguments, **self.options)


CASES: list[tuple[Call, type[Exception], str]] = [
    (Call("add_scalars", "s", 1.0), TypeError, "tag_scalar_dict is a float, expected a dict"),
    (Call("add_scalars", "s", {"": 1.0}), ValueError, "name of a value is empty"),
    (Call("add_scalars", "s", {"a": 1.0, "b": "x"}), TypeError, "value['b']"),
    (Call("add_histogram", "h", "text"), TypeError, "values is a str"),
    (Call("add_histogram", "h", [1, 2], bins=0), ValueError, "bins 0 is out of range"),
    (Call("add_scalar", "s", 1.0, 1, walltime="now"), TypeError, "walltime is a str"),
    (Call("add_scalars", "s", {"a": 1.0}, walltime=float("nan")), ValueError, "walltime is nan"),
    (Call("add_text", "t", "text", walltime=float("inf")), ValueError, "walltime is inf"),
    (
        Call("add_histogram_raw", "h", 0, float("nan"), 1, 1, 1, [1.0], [1]),
        ValueError,
        "max is nan, expected a finite number",
    ),
    (
        Call("add_histogram_raw", "h", 0, 1, "2", 1, 1, [1.0], [1]),
        TypeError,
        "num is a str, expected a number",
    ),
    (
        Call("add_histogram_raw", "h", 0, 1, 2, 1, 1, [1.0, 2.0], [1]),
        ValueError,
        "bucket_counts of dtype int64 and shape (1,): expected (2,), the shape of bucket_limits",
    ),
    (
        Call("add_histogram_raw", "h", 0, 1, 2, 1, 1, ZEROS((0,)), ZEROS((0,))),
        ValueError,
        "bucket_limits of dtype float64 and shape (0,): expected (n,), at least one element",
    ),
    (
        Call("add_pr_curve", "p", [1, 0], [0.5], 5),
        ValueError,
        "predictions of dtype float64 and shape (1,): expected (2,), the shape of labels",
    ),
    (
        Call("add_pr_curve", "p", ZEROS((2, 3)), ZEROS((2, 3)), 5, weights=ZEROS(2)),
        ValueError,
        "weights of dtype float64 and shape (2,): it does not broadcast to (2, 3)",
    ),
    (
        Call("add_pr_curve", "p", ZEROS(3), ZEROS(3), 5, weights=ZEROS((2, 3))),
        ValueError,
        "does not broadcast to (3,)",
    ),
    (Call("add_pr_curve", "p", [1], [1.0], 1), ValueError, "num_thresholds is 1, expected 2 to"),
    (Call("add_pr_curve", "p", [1], [1.0], 2.5), TypeError, "num_thresholds is 2.5"),
    (Call("add_pr_curve", "p", ["yes"], [1.0], 5), TypeError, "labels is a list of str"),
    (
        Call("add_pr_curve_raw", "p", *[[1.0, 2.0]] * 5, [1.0]),
        ValueError,
        "recall of dtype float64 and shape (1,): expected (2,), the shape of true_positive_counts",
    ),
    (
        Call("add_pr_curve_raw", "p", *[[1.0, 2.0]] * 6, num_thresholds=127),
        ValueError,
        "num_thresholds is 127, but true_positive_counts has 2 elements",
    ),
    (
        Call("add_pr_curve_raw", "p", *[[1.0]] * 6, weights=[1.0]),
        ValueError,
        "weights cannot be applied",
    ),
    (Call("add_tensor", "t", None), TypeError, "tensor is a NoneType"),
    (Call("add_tensor", "t", ZEROS(3, complex)), TypeError, "dtype complex128"),
    (
        Call("add_image", "i", ZEROS((2, 2), np.int32)),
        TypeError,
        "image of dtype int32 and shape (2, 2): expected uint8, or floats in [0, 1]",
    ),
    (Call("add_image", "i", ZEROS(4)), ValueError, "shape (4,): expected (H, W), (C, H, W) or"),
    (Call("add_image", "i", ZEROS((1, 1, 1, 1, 1))), ValueError, "shape (1, 1, 1, 1, 1)"),
    (Call("add_image", "i", ZEROS((28, 28, 3))), ValueError, "as CHW: 28 channels, expected 1, 3"),
    (Call("add_image", "i", ZEROS((0, 3, 8, 8))), ValueError, "it has no pixels"),
    (Call("add_image", "i", HUGE), ValueError, "16384 x 16384 pixels, more than 134217728"),
    (
        Call("add_image", "i", ZEROS((2, 1, 4, 4)), padding=1 << 20),
        ValueError,
        "2097156 x 3145736 pixels",
    ),
    (
        Call("add_image", "i", ZEROS((2, 2)), dataformats="CHW"),
        ValueError,
        "image of dtype float64 and shape (2, 2): expected 3 dimensions, CHW",
    ),
    (
        Call("add_image", "i", ZEROS((2, 2)), dataformats="HX"),
        ValueError,
        "dataformats is 'HX', expected the letters H, W, and any of N, C, each once",
    ),
    (Call("add_image", "i", ZEROS((2, 2)), dataformats=3), TypeError, "dataformats is a int"),
    (Call("add_image", "i", ZEROS((2, 2)), nrow=0), ValueError, "nrow is 0, expected 1 or more"),
    (Call("add_image", "i", ZEROS((2, 2)), nrow=True), TypeError, "nrow is True"),
    (Call("add_image", "i", ZEROS((2, 2)), padding=-1), ValueError, "padding is -1"),
    (
        Call("add_image", "i", ZEROS((2, 2)), pad_value=256),
        ValueError,
        "pad_value is 256, expected",
    ),
    (
        Call("add_image", "i", ZEROS((2, 2)), normalize="all"),
        ValueError,
        "normalize is 'all', expected one of batch, image",
    ),
    (
        Call("add_image", "i", ZEROS((2, 2)), value_range=(0, 1)),
        ValueError,
        "value_range is (0, 1) without normalize",
    ),
    (
        Call("add_image", "i", ZEROS((2, 2)), normalize="batch", value_range=(1, 0)),
        ValueError,
        "value_range is (1, 0), expected the lower number first",
    ),
    (
        Call("add_image", "i", ZEROS((2, 2)), normalize="batch", value_range=1),
        TypeError,
        "value_range is 1, expected two numbers",
    ),
    (
        Call("add_images", "i", ZEROS((3, 8, 8)), dataformats="CHW"),
        ValueError,
        "dataformats is 'CHW', expected a batch",
    ),
    (
        Call("add_image_with_boxes", "i", ZEROS((3, 8, 8)), ZEROS((2, 3))),
        ValueError,
        "boxes of dtype float64 and shape (2, 3): expected (n, 4)",
    ),
    (
        Call("add_image_with_boxes", "i", ZEROS((3, 8, 8)), ZEROS((2, 4), bool)),
        TypeError,
        "boxes of dtype bool",
    ),
    (
        Call("add_image_with_boxes", "i", ZEROS((3, 8, 8)), ZEROS((2, 4)), labels=["a"]),
        ValueError,
        "labels has 1 elements for 2 boxes",
    ),
    (
        Call("add_image_with_boxes", "i", ZEROS((3, 8, 8)), ZEROS((1, 4)), labels=[3]),
        TypeError,
        "labels[0] is a int, expected a str",
    ),
    (
        Call("add_image_with_boxes", "i", ZEROS((1, 3, 8, 8)), ZEROS((1, 4)), dataformats="NCHW"),
        ValueError,
        "dataformats is 'NCHW', expected one image",
    ),
    (Call("add_figure", "f", 3), TypeError, "figure is a int, expected a matplotlib Figure"),
    (Call("add_figure", "f", []), ValueError, "figure is an empty list"),
    (
        Call("add_video", "v", ZEROS((2, 3, 4, 4))),
        ValueError,
        "video of dtype float64 and shape (2, 3, 4, 4): expected 5 dimensions, NTCHW",
    ),
    (Call("add_video", "v", ZEROS((1, 2, 2, 4, 4))), ValueError, "2 channels, expected 1, 3 or 4"),
    (Call("add_video", "v", ZEROS((1, 1, 1, 1, 1), int)), TypeError, "video of dtype int64"),
    (Call("add_video", "v", ZEROS((1, 1, 1, 1, 65536))), ValueError, "frames of 1 x 65536 pixels"),
    (
        Call("add_video", "v", ZEROS((1, 10_001, 1, 1, 1))),
        ValueError,
        "10001 frames, expected at most 10000",
    ),
    (Call("add_video", "v", ZEROS((1, 1, 1, 4, 4)), fps=0), ValueError, "fps is 0, expected more"),
    (
        Call("add_video", "v", ZEROS((1, 1, 1, 4, 4)), dataformats="TCHW"),
        ValueError,
        "dataformats is 'TCHW', expected the letters N, T, C, H, W each once",
    ),
    (Call("add_audio", "a", ZEROS((3, 4))), ValueError, "audio of dtype float64 and shape (3, 4)"),
    (Call("add_audio", "a", ZEROS((0,))), ValueError, "shape (0,): expected (n,), (n, 2)"),
    (Call("add_audio", "a", ZEROS(3, np.int32)), TypeError, "audio of dtype int32"),
    (Call("add_audio", "a", ZEROS(3), 0), ValueError, "sample_rate is 0, expected 1 to"),
    (Call("add_audio", "a", ZEROS(3), 44100.0), TypeError, "sample_rate is 44100.0"),
    (Call("add_text", "t", b"bytes"), TypeError, "text is a bytes, expected a str"),
    (Call("add_text", "t", "\ud800"), ValueError, "cannot be encoded as UTF-8"),
    (
        Call("add_text", "t", "x" * (1 << 20)),
        ValueError,
        "this text takes 1048584 bytes without its arrays, more than 1048576",
    ),
    (
        Call("add_embedding", "e", ZEROS(3)),
        ValueError,
        "embedding of dtype float64 and shape (3,): expected (rows, columns), at least one",
    ),
    (Call("add_embedding", "e", ZEROS((3, 0))), ValueError, "shape (3, 0)"),
    (Call("add_embedding", "../e", ZEROS((3, 2))), ValueError, "'..' is not allowed"),
    (Call("add_embedding", "e", ZEROS((3, 2)), project_to=0), ValueError, "project_to is 0"),
    (
        Call("add_embedding", "e", ZEROS((3, 2)), labels=["a"]),
        ValueError,
        "labels has 1 elements for 3 rows of the embedding",
    ),
    (
        Call("add_embedding", "e", ZEROS((3, 2)), labels=ZEROS(4)),
        ValueError,
        "labels of shape (4,) for 3 rows of the embedding",
    ),
    (
        Call("add_embedding", "e", ZEROS((3, 2)), labels=ZEROS((3, 1, 1))),
        ValueError,
        "labels of shape (3, 1, 1): expected (rows,) or (rows, columns)",
    ),
    (
        Call("add_embedding", "e", ZEROS((3, 2)), labels=np.array(["a", "b"])),
        ValueError,
        "labels of shape (2,) for 3 rows",
    ),
    (Call("add_embedding", "e", ZEROS((3, 2)), labels="abc"), TypeError, "labels is a str"),
    (
        Call("add_embedding", "e", ZEROS((9, 2)), labels=ZEROS((9, 600_000), np.uint8)),
        ValueError,
        "labels has 600000 columns for 9 rows, expected 5000000 labels at most",
    ),
    (
        Call("add_embedding", "e", ZEROS((2, 2)), labels=["a", "\udfff"]),
        ValueError,
        "labels[1] cannot be encoded as UTF-8",
    ),
    (
        Call("add_embedding", "e", ZEROS((2, 2)), labels=[["a", 1], ["b"]]),
        ValueError,
        "labels[1] is ['b'], labels[0] is ['a', 1]: expected rows of one length",
    ),
    (
        Call("add_embedding", "e", ZEROS((2, 2)), labels=["a", ["b"]]),
        ValueError,
        "labels[1] is ['b'], labels[0] is 'a'",
    ),
    (
        Call("add_embedding", "e", ZEROS((2, 2)), labels=[[], []]),
        ValueError,
        "rows without columns",
    ),
    (
        Call("add_embedding", "e", ZEROS((2, 2)), labels=["a", "b"], labels_header=["x"]),
        ValueError,
        "labels_header is ['x']: TensorBoard names columns only if there are several",
    ),
    (
        Call("add_embedding", "e", ZEROS((1, 2)), labels=[["a", "b"]], labels_header=["x"]),
        ValueError,
        "labels_header is ['x'], expected 2 names",
    ),
    (
        Call("add_embedding", "e", ZEROS((1, 2)), labels=[["a", "b"]], labels_header=["x", "x"]),
        ValueError,
        "expected names that differ",
    ),
    (
        Call("add_embedding", "e", ZEROS((1, 2)), labels_header=["x"]),
        ValueError,
        "there are no labels",
    ),
    (
        Call("add_embedding", "e", ZEROS((3, 2)), images=ZEROS((2, 1, 4, 4))),
        ValueError,
        "images of dtype float64 and shape (2, 1, 4, 4): 2 images for 3 rows",
    ),
    (
        Call("add_embedding", "e", ZEROS((3, 2)), images=ZEROS((3, 4, 4))),
        ValueError,
        "shape (3, 4, 4): expected (N, C, H, W)",
    ),
    (
        Call("add_embedding", "e", ZEROS((3, 2)), images=ZEROS((3, 1, 4, 4), int)),
        TypeError,
        "images of dtype int64",
    ),
    (
        Call("add_mesh", "m", ZEROS((4, 3))),
        ValueError,
        "vertices of dtype float64 and shape (4, 3): expected (batch, n, 3)",
    ),
    (
        Call("add_mesh", "m", ZEROS((1, 4, 3)), ZEROS((1, 3, 3))),
        ValueError,
        "colors of dtype float64 and shape (1, 3, 3): expected (1, 4, 3), the shape of vertices",
    ),
    (
        Call("add_mesh", "m", ZEROS((1, 4, 3)), faces=ZEROS((1, 2, 3))),
        TypeError,
        "faces of dtype float64 and shape (1, 2, 3): expected integers",
    ),
    (
        Call("add_mesh", "m", ZEROS((1, 4, 3)), faces=ZEROS((2, 2, 3), int)),
        ValueError,
        "a batch of 2, expected 1",
    ),
    (Call("add_mesh", "m", ZEROS((1, 4, 3)), config_dict=[1]), TypeError, "config_dict is a list"),
    (
        Call("add_mesh", "m", ZEROS((1, 4, 3)), config_dict={"a": object()}),
        TypeError,
        "config_dict cannot be written as JSON",
    ),
    (Call("add_graph", 3), TypeError, "net is a int, expected an mxnet Symbol, a HybridBlock"),
    (Call("add_hparams", [], {}), TypeError, "hparam_dict is a list, expected a dict"),
    (Call("add_hparams", {}, [1]), TypeError, "metric_dict is a list, expected a dict"),
    (
        Call("add_hparams", {"lr": object()}, {}),
        TypeError,
        "hparam_dict['lr'] is a object, expected a bool, a number, a str, a list",
    ),
    (Call("add_hparams", {1: 1}, {}), TypeError, "name of a hyperparameter is a int"),
    (Call("add_hparams", {"": 1}, {}), ValueError, "name of a hyperparameter is empty"),
    (Call("add_hparams", {}, {"a": "x"}), TypeError, "metric_dict['a'] is a str"),
    (Call("add_hparams", {}, {}, name="../x"), ValueError, "'..' is not allowed"),
    (
        Call("add_hparams", {}, {}, domains={"a": [1, "b"]}),
        ValueError,
        "domains['a'] is [1, 'b'], expected values of one type",
    ),
    (Call("add_hparams", {}, {}, domains={"a": []}), ValueError, "domains['a'] is []"),
    (Call("add_hparams", {}, {}, domains={"a": "bc"}), TypeError, "domains['a'] is a str"),
    (Call("add_custom_scalars", []), TypeError, "layout is a list, expected a dict"),
    (Call("add_custom_scalars", {}), ValueError, "layout has no categories"),
    (Call("add_custom_scalars", {"c": 1}), TypeError, "layout['c'] is a int"),
    (
        Call("add_custom_scalars", {"c": {"t": ["Line", ["a"]]}}),
        ValueError,
        "layout['c']['t'][0] is 'Line', expected one of Multiline, Margin",
    ),
    (
        Call("add_custom_scalars", {"c": {"t": ["Multiline"]}}),
        TypeError,
        "layout['c']['t'] is ['Multiline'], expected [kind, tags]",
    ),
    (Call("add_custom_scalars_multilinechart", "a"), TypeError, "is a str, expected a list of str"),
    (Call("add_custom_scalars_multilinechart", []), ValueError, "has no tags"),
    (Call("add_custom_scalars_marginchart", ["a", "b"]), ValueError, "has 2 tags, expected three"),
]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    CASES,
    ids=[f"{number}-{case[0].name}" for number, case in enumerate(CASES)],
)
def test_wrong_arguments_raise_at_the_call(
    sw: SummaryWriter, call: Call, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        call(sw)


@pytest.mark.parametrize(
    "call",
    [
        Call("add_histogram", "", ZEROS(3)),
        Call("add_histogram_raw", "", 0, 1, 1, 1, 1, [1.0], [1.0]),
        Call("add_pr_curve", "", ZEROS(1), ZEROS(1)),
        Call("add_pr_curve_raw", "", *[[1.0]] * 6),
        Call("add_tensor", "", ZEROS(1)),
        Call("add_image", "", ZEROS((2, 2))),
        Call("add_images", "", ZEROS((1, 1, 2, 2))),
        Call("add_image_with_boxes", "", ZEROS((1, 2, 2)), ZEROS((1, 4))),
        Call("add_video", "", ZEROS((1, 1, 1, 2, 2))),
        Call("add_audio", "", ZEROS(1)),
        Call("add_text", "", "text"),
        Call("add_embedding", "", ZEROS((1, 1))),
        Call("add_mesh", "", ZEROS((1, 1, 3))),
        Call("add_scalars", "", {"a": 1.0}),
    ],
    ids=lambda call: call.name,
)
def test_every_call_checks_tag_and_step(sw: SummaryWriter, call: Call) -> None:
    with pytest.raises(ValueError, match="tag '' is empty"):
        call(sw)
    named = Call(call.name, "tag", *call.arguments[1:], global_step="x")
    with pytest.raises(TypeError, match="global_step is a str"):
        named(sw)


def test_figures_of_different_sizes(sw: SummaryWriter) -> None:
    figure = pytest.importorskip("matplotlib.figure", reason="needs matplotlib").Figure
    with pytest.raises(ValueError, match="figures of different sizes"):
        sw.add_figure("f", [figure(figsize=(1, 1)), figure(figsize=(1, 2))])


def test_lists_of_device_arrays_are_no_labels(sw: SummaryWriter) -> None:
    mx = pytest.importorskip("mxnet", reason="needs mxnet", exc_type=ImportError)
    with pytest.raises(TypeError, match=r"labels is a list of mxnet.*; stack them"):
        sw.add_embedding("e", ZEROS((1, 2)), labels=[mx.nd.ones(1)])


def test_a_block_that_was_not_run_has_no_graph(sw: SummaryWriter) -> None:
    mx = pytest.importorskip("mxnet", reason="needs mxnet", exc_type=ImportError)
    net = mx.gluon.nn.Dense(2)
    net.initialize()
    net.hybridize()
    with pytest.raises(RuntimeError, match=r"call net.hybridize\(\) and run net forward"):
        sw.add_graph(net)
    with pytest.raises(ValueError, match="input_to_model is for torch modules"):
        sw.add_graph(net, mx.nd.ones(1))


def test_a_module_that_cannot_be_traced(sw: SummaryWriter) -> None:
    torch = pytest.importorskip("torch", reason="needs torch", exc_type=ImportError)
    with pytest.raises(ValueError, match="input_to_model is None"):
        sw.add_graph(torch.nn.Linear(2, 3))
    with pytest.raises(RuntimeError, match="the Linear cannot be traced with this input"):
        sw.add_graph(torch.nn.Linear(2, 3), torch.ones(1, 5))
