"""Curves equal what TensorBoard's own code computes, of which the peers' is a copy."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from boardd.reduce.pr_curve import PrCurve, pr_curve
from boardd_protos.invalid import InvalidTensorError
from boardd_protos.limits import MAX_THRESHOLDS
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.plugins.pr_curve import summary


@pytest.fixture
def reference(monkeypatch):
    """TensorBoard's ``pb``, stopped before it needs TensorFlow to make a message."""
    for name in ("tensorflow", "tensorflow.compat", "tensorflow.compat.v1"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(summary, "raw_data_pb", lambda name, **curve: curve)

    def compute(labels, predictions, num_thresholds, weights=None):
        curve = summary.pb("tag", labels, predictions, num_thresholds, weights)
        names = ("true_positive", "false_positive", "true_negative", "false_negative")
        return np.stack(
            [curve[f"{name}_counts"] for name in names] + [curve["precision"], curve["recall"]]
        )

    return compute


def guesses(size, dtype="float32", seed=0):
    random = np.random.default_rng(seed)
    labels = random.random(size) < 0.3
    return labels, np.clip(random.normal(0.3 + 0.4 * labels, 0.2), 0, 1).astype(dtype)


@pytest.mark.parametrize("num_thresholds", [2, 3, 11, 127, 128, 201, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_equals_tensorboard(reference, dtype, num_thresholds):
    labels, predictions = guesses(200_000, dtype)
    curve = pr_curve(labels, predictions, num_thresholds)
    expected = reference(labels, predictions, num_thresholds)
    assert curve.rows().dtype == np.float64
    np.testing.assert_array_equal(curve.rows(), expected)
    np.testing.assert_array_equal(curve.precision, expected[4])
    np.testing.assert_array_equal(curve.recall, expected[5])


@pytest.mark.parametrize("shape", [(150_000,), (300, 500), (300, 1), (1,), (500,), ()])
def test_weights_equal_tensorboard_bit_for_bit(reference, shape):
    labels, predictions = (array.reshape(300, 500) for array in guesses(150_000))
    weights = np.random.default_rng(1).random(shape, dtype=np.float32)
    if shape == (150_000,):
        labels, predictions = labels.ravel(), predictions.ravel()
    curve = pr_curve(labels, predictions, 50, np.asarray(weights))
    np.testing.assert_array_equal(curve.rows(), reference(labels, predictions, 50, weights))


def test_against_the_definition_at_every_threshold():
    """Thresholds that float32 and the product hold exactly."""
    random = np.random.default_rng(2)
    labels = random.random(500) < 0.5
    predictions = (random.integers(0, 1025, 500) / 1024).astype(np.float32)
    curve = pr_curve(labels, predictions, 65)
    for number in range(65):
        positive = predictions >= number / 64
        assert curve.tp[number] == (positive & labels).sum()
        assert curve.fp[number] == (positive & ~labels).sum()
        assert curve.tn[number] == (~positive & ~labels).sum()
        assert curve.fn[number] == (~positive & labels).sum()


def test_labels_of_every_kind(reference):
    labels, predictions = guesses(1000)
    expected = reference(labels, predictions, 20)
    for dtype in ("bool", "int8", "uint8", "int64", "float16", "float32", "float64"):
        np.testing.assert_array_equal(
            pr_curve(labels.astype(dtype), predictions, 20).rows(), expected
        )
    masks = labels.astype(np.uint8) * 255
    np.testing.assert_array_equal(pr_curve(masks, predictions, 20).rows(), expected)


def test_fractional_labels_count_in_part_as_in_the_reference(reference):
    labels = np.random.default_rng(0).random(1000)
    predictions = guesses(1000)[1]
    np.testing.assert_array_equal(
        pr_curve(labels, predictions, 20).rows(), reference(labels, predictions, 20)
    )


def test_predictions_of_other_types():
    labels, predictions = guesses(1000, "float16")
    expected = pr_curve(labels, predictions.astype(np.float32), 3000).rows()
    np.testing.assert_array_equal(pr_curve(labels, predictions, 3000).rows(), expected)
    hard = predictions > 0.5
    expected = pr_curve(labels, hard.astype(np.float32), 5).rows()
    for dtype in ("bool", "uint8", "int64"):
        np.testing.assert_array_equal(pr_curve(labels, hard.astype(dtype), 5).rows(), expected)


@given(
    st.lists(
        st.tuples(
            st.booleans(),
            st.one_of(
                st.floats(0, 1, width=32),
                st.sampled_from([0.0, -0.0, 1.0, 0.5, float(np.nextafter(np.float32(1), 0))]),
            ),
        )
    ),
    st.integers(2, 300),
)
@settings(deadline=None)
def test_curves_are_monotonic_and_complete(pairs, num_thresholds):
    labels = np.array([label for label, _ in pairs], bool)
    predictions = np.array([prediction for _, prediction in pairs], np.float32)
    curve = pr_curve(labels, predictions, num_thresholds)
    assert (np.diff(curve.tp) <= 0).all()
    assert (np.diff(curve.fp) <= 0).all()
    assert (curve.tp + curve.fn == labels.sum()).all()
    assert (curve.fp + curve.tn == (~labels).sum()).all()
    # At 1.0, only what is 1 or rounds to it.
    assert curve.tp[-1] >= (labels & (predictions == 1)).sum()
    assert curve.tp[0] == labels.sum()


def test_nothing_makes_an_empty_curve():
    curve = pr_curve(np.zeros(0), np.zeros(0), 5)
    assert not curve.rows().any()


def test_raw_counts_make_a_curve_too():
    curve = PrCurve(*(np.array(counts, float) for counts in ([3, 1], [2, 0], [0, 2], [0, 2])))
    np.testing.assert_allclose(curve.precision, [0.6, 1])
    np.testing.assert_allclose(curve.recall, [1, 1 / 3])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predictions": [0.5, 1.01]}, "predictions from 0.5 to 1.01"),
        ({"predictions": [-0.01, 1]}, r"in \[0, 1\]"),
        ({"predictions": [0.5, np.nan]}, "predictions from nan"),
        ({"predictions": [0.5, np.inf]}, "inf"),
        ({"predictions": [0.5]}, r"\(2,\).*\(1,\)"),
        ({"predictions": [[0.5], [0.5]]}, "the same shape"),
        ({"predictions": [0.5j, 0]}, "predictions of complex128"),
        ({"labels": [-1, 1]}, "labels from -1 to 1"),
        ({"labels": [np.nan, 1]}, "labels from nan"),
        ({"labels": ["cat", "dog"]}, "labels of <U3"),
        ({"weights": [1, np.nan]}, "weights from nan"),
        ({"weights": [1, np.inf]}, "finite"),
        ({"weights": [1, -1]}, "weights from -1"),
        ({"weights": [1, 1, 1]}, "do not broadcast"),
        ({"weights": [[1], [1]]}, "do not broadcast"),
        ({"num_thresholds": 1}, "1 thresholds"),
        ({"num_thresholds": MAX_THRESHOLDS + 1}, str(MAX_THRESHOLDS + 1)),
    ],
)
def test_what_makes_no_curve(change, message):
    arguments = {"labels": [0, 1], "predictions": [0.1, 0.9], "num_thresholds": 5} | change
    arrays = {
        name: value if isinstance(value, int) else np.array(value)
        for name, value in arguments.items()
    }
    with pytest.raises(InvalidTensorError, match=message):
        pr_curve(**arrays)
