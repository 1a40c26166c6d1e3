"""Pixels are as bright from every library as from NumPy."""

from __future__ import annotations

import copy
import importlib
from typing import Any

import numpy as np
import pytest
from boardd_client.dropins.core_writer import NoWriter
from boardd_client.dropins.file_writer import FileWriter
from boardd_client.dropins.values import pixels

# MXNet 1.9.1 beside a newer SciPy.
pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")

PIXELS = np.array([[[0, 1], [2, 200]]], np.uint8)
NUMBERS = np.array([[[0, 1], [1, 0]]])


def arrays(module: str, values: Any) -> Any:
    library = pytest.importorskip(module, exc_type=ImportError)
    if module == "torch":
        return library.from_numpy(values)
    if module == "tensorflow":
        return library.constant(values)
    library = library.nd if module == "mxnet" else library
    return library.array(values, dtype=values.dtype)


LIBRARIES = ["mxnet", "torch", "tensorflow", "jax.numpy"]


@pytest.mark.parametrize("module", LIBRARIES)
def test_pixels_stay_as_they_are(module: str) -> None:
    images = arrays(module, PIXELS)
    assert pixels(images) is images
    images = arrays(module, PIXELS.astype(np.float32))
    assert pixels(images) is images


@pytest.mark.parametrize("dtype", ["bool", "int8", "int32"])
@pytest.mark.parametrize("module", LIBRARIES)
def test_one_is_white(module: str, dtype: str) -> None:
    found = pixels(arrays(module, NUMBERS.astype(dtype)))
    assert "float32" in str(found.dtype)
    values = found.asnumpy() if hasattr(found, "asnumpy") else np.asarray(found)
    np.testing.assert_array_equal(values, NUMBERS)


def test_lists_of_tensors_that_numpy_does_not_take() -> None:
    torch = pytest.importorskip("torch")
    for image in (torch.rand(3, 2, 2, requires_grad=True), torch.rand(3, 2, 2).bfloat16()):
        found = pixels([image, image])
        assert found.shape == (2, 3, 2, 2)
        assert not found.requires_grad
        assert torch.equal(found[1], image.detach())


def test_lists_of_arrays_become_one() -> None:
    assert pixels([PIXELS, PIXELS]).tolist() == [PIXELS.tolist()] * 2
    assert pixels(None) is None


def test_a_writer_of_nothing_can_be_copied() -> None:
    copied = copy.deepcopy(NoWriter())
    assert copied.add_scalar("a", 1.0) is None


@pytest.mark.parametrize("name", ["torch", "tensorboardX"])
def test_what_cannot_be_made_is_not_offered(name: str) -> None:
    assert FileWriter.__name__ not in importlib.import_module(f"boardd_client.{name}").__all__
