"""MXNet arrays that are hard to copy."""

from __future__ import annotations

from typing import Any

#: All that MXNet's arrays may have but bfloat16, which is none of NumPy's.
DTYPES = ("bool", "uint8", "int8", "int32", "int64", "float16", "float32", "float64")


def view_in_blocks(shape: tuple[int, ...]) -> Any:
    """A view, of ``shape``, of 4,096 float32 elements that oneDNN has left in blocks.

    ``asnumpy`` of the view has the elements in order.
    """
    import mxnet as mx

    images = mx.nd.arange(4 * 8 * 10 * 10).reshape((4, 8, 10, 10)) / 1000
    kernels = mx.nd.arange(16 * 8 * 3 * 3).reshape((16, 8, 3, 3)) / 1000
    result = mx.nd.Convolution(images, kernels, kernel=(3, 3), num_filter=16, no_bias=True)
    result.wait_to_read()  # while it is awaited, a view of it is put in order
    return result.reshape(shape)
