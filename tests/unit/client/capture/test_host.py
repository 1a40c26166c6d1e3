from __future__ import annotations

import array
import ctypes
import decimal
import fractions
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from boardd_client import capture
from boardd_protos.dtypes import NUMPY_DTYPES, element
from support.capturing import Captured, captured

LAYOUTS = {
    "contiguous": lambda a: a,
    "transposed": lambda a: a.T,
    "strided": lambda a: a[::2, ::3],
    "reversed": lambda a: a[::-1, ::-1],
    "fortran": np.asfortranarray,
    "broadcast": lambda a: np.broadcast_to(a[:1], (5, a.shape[1])),
    "0-d": lambda a: a[0, 0, ...],
    "empty": lambda a: a[:0],
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_arrays_of_every_dtype_and_layout(dtype: str, order: str, layout: str) -> None:
    values = np.arange(42).reshape(6, 7).astype(np.dtype(dtype).newbyteorder(order))
    values = LAYOUTS[layout](values)
    result = Captured(values)
    assert result.pending is None
    assert (result.tensor.dtype, result.tensor.shape) == (dtype, values.shape)
    assert result.tensor.size_bytes == values.nbytes
    assert result.values().shape == values.shape
    np.testing.assert_array_equal(result.values(), values)


def test_memory_that_must_not_be_written() -> None:
    values = np.arange(6.0)
    values.flags.writeable = False
    assert captured(values).tolist() == values.tolist()
    assert captured(memoryview(values.tobytes()).cast("d")).tolist() == values.tolist()


def test_the_copy_is_a_snapshot() -> None:
    values = np.zeros(1000)
    result = Captured(values)
    values[:] = 7
    assert not result.values().any()


def test_bits_survive() -> None:
    values = np.array([np.nan, -np.nan, np.inf, -np.inf, -0.0, 5e-324, 1e308])
    assert captured(values).tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1, 2, 3], np.array([1, 2, 3])),
        ([[1.5, 2], (3, True)], np.array([[1.5, 2], [3, 1]])),
        ([np.ones(2), np.zeros(2)], np.array([[1.0, 1], [0, 0]])),
        ([np.float32(1), np.float32(2)], np.array([1, 2], np.float32)),
        ([], np.array([])),
        (2.5, np.array(2.5)),
        (np.int16(3), np.array(3, np.int16)),
        (b"ab", np.array([97, 98], np.uint8)),
        (bytearray(b"ab"), np.array([97, 98], np.uint8)),
        (memoryview(b"abcd")[::2], np.array([97, 99], np.uint8)),
        (array.array("f", [1, 2]), np.array([1, 2], np.float32)),
        ((ctypes.c_int16 * 2)(3, 4), np.array([3, 4], np.int16)),
        (memoryview(b"\0\1").cast("?"), np.array([False, True])),
        (memoryview(np.array([1, 2], ">f8")), np.array([1.0, 2])),
        (memoryview(np.array([[1, 2]], np.float16).T), np.array([[1], [2]], np.float16)),
        (np.arange(6).reshape(2, 3).view(np.recarray), np.arange(6).reshape(2, 3)),
    ],
)
def test_other_hosts_of_numbers(value: object, expected: np.ndarray) -> None:
    result = captured(value)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)


def test_a_series_of_pandas() -> None:
    pandas = pytest.importorskip("pandas", reason="needs pandas")
    np.testing.assert_array_equal(captured(pandas.Series([1.5, 2.5])), [1.5, 2.5])
    with pytest.raises(TypeError, match="dtype object"):
        capture.tensor(pandas.Series(["a", 1]), "values")


def test_bfloat16_of_ml_dtypes() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="needs ml_dtypes")
    values = np.arange(12).reshape(3, 4).astype(ml_dtypes.bfloat16)
    assert Captured(values).tensor.dtype == "bfloat16"
    np.testing.assert_array_equal(captured(values.T), np.arange(12).reshape(3, 4).T)
    assert capture.scalar(ml_dtypes.bfloat16(1.5), "value") == 1.5


class OnlyDLPack:
    """What knows no protocol of NumPy's own."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __dlpack__(self, **arguments: object) -> object:
        return self._array.__dlpack__(**arguments)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._array.__dlpack_device__()


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"broadcast"}))
@pytest.mark.parametrize("dtype", [name for name in NUMPY_DTYPES if name != "bool"])
def test_objects_with_dlpack_only(dtype: str, layout: str) -> None:
    values = LAYOUTS[layout](np.arange(42).reshape(6, 7).astype(dtype))
    result = captured(OnlyDLPack(values))
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, values)
    if values.size == 1:
        assert capture.scalar(OnlyDLPack(values), "loss") == float(values)


def test_what_dlpack_cannot_give_is_refused() -> None:
    with pytest.raises(TypeError, match=r"values is a .*OnlyDLPack.*through DLPack: "):
        capture.tensor(OnlyDLPack(np.zeros(2, ">f4")), "values")
    with pytest.raises(TypeError, match="dtype complex128"):
        capture.tensor(OnlyDLPack(np.zeros(2, complex)), "values")


@pytest.mark.parametrize("layout", ["contiguous", "strided", "transposed", "swapped"])
def test_large_copies_leave_other_threads_running(layout: str) -> None:
    values = np.ones((4096, 4096), np.float32)
    source = {
        "contiguous": values,
        "strided": values[:, ::2],
        "transposed": values.T,
        "swapped": values.view(">f4"),
    }[layout]
    tensor = capture.tensor(source, "values")
    slot = memoryview(bytearray(tensor.size_bytes))
    stamps: list[float] = []
    is_over = threading.Event()

    def stamp() -> None:
        while not is_over.wait(0.001):
            stamps.append(time.perf_counter())

    def runs_in_the_middle_of_a_copy() -> bool:
        begin = time.perf_counter()
        tensor.copy_into(slot)
        quarter = (time.perf_counter() - begin) / 4
        # Before and after the copy itself anybody may run.
        return any(begin + quarter < at < begin + 3 * quarter for at in stamps)

    thread = threading.Thread(target=stamp)
    thread.start()
    try:
        assert any(runs_in_the_middle_of_a_copy() for _ in range(20)), "the copy holds the GIL"
    finally:
        is_over.set()
        thread.join()


class OnDevice:
    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __array__(self, dtype: object = None, copy: object = None) -> np.ndarray:
        raise AssertionError("read on the caller's thread")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.zeros(2, complex), "dtype complex128"),
        (np.zeros(2, np.longdouble), "dtype (float|longdouble)"),
        (np.array(["a"]), "dtype str"),
        (np.array([None]), "dtype object"),
        (np.zeros(2, "M8[s]"), "dtype datetime64"),
        (np.zeros(2, [("a", int)]), "dtype void"),
        (memoryview(np.zeros(2, complex)), "dtype complex128"),
        (memoryview(np.zeros(2, [("a", "i4")])), "dtype void"),
        (memoryview(b"ab").cast("c"), "dtype (bytes|S)"),
        (array.array("w" if sys.version_info >= (3, 13) else "u", "ab"), "dtype (str|U)"),
        ((ctypes.c_void_p * 2)(), "elements that are not numbers"),
        (np.ma.masked_array([1, 2], [0, 1]), r"weights\.compressed"),
        ("text", "weights is a str"),
        (None, "weights is a NoneType"),
        ({"a": 1}, "weights is a dict"),
        (np.ndarray, "weights is a type"),
        (["a"], "list of str"),
        ([1, None], "list of NoneType"),
        ([OnDevice()], "list of .*OnDevice.*stack"),
        (OnDevice(), r"device .*without waiting; pass torch\.from_dlpack\(weights\)"),
        ([10**30], "dtype object"),
    ],
)
def test_refused(value: object, text: str) -> None:
    with pytest.raises(TypeError, match=text) as raised:
        capture.tensor(value, "weights")
    assert "weights" in str(raised.value)


@pytest.mark.parametrize("value", [[[1], [1, 2]], [1, [2]], [[1, 2], np.ones(3)]])
def test_ragged_sequences_are_refused(value: object) -> None:
    with pytest.raises(ValueError, match="weights has rows of unequal shapes"):
        capture.tensor(value, "weights")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1.5, 1.5),
        (True, 1.0),
        (2**70, float(2**70)),
        (np.float32(0.5), 0.5),
        (np.bool_(True), 1.0),
        (np.uint64(2**63), float(2**63)),
        (np.longdouble(0.25), 0.25),
        (np.array(3), 3.0),
        (np.array([[2.5]], ">f4"), 2.5),
        (fractions.Fraction(1, 4), 0.25),
        (decimal.Decimal("0.5"), 0.5),
        ([3], 3.0),
    ],
)
def test_scalars_are_read_at_once(value: object, expected: float) -> None:
    result = capture.scalar(value, "value")
    assert type(result) is float
    assert result == expected


@pytest.mark.parametrize("value", [float("nan"), np.float32("nan"), np.array(np.nan)])
def test_nan_is_a_scalar(value: object) -> None:
    assert np.isnan(capture.scalar(value, "value"))


NO_NUMBERS = [
    *(1j, np.complex64(1), np.array([1j])),
    *("1", np.str_("1"), np.array("1"), b"1"),
    *(None, [None], np.array([None]), {"a": 1}, np.timedelta64(1, "s")),
]


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_no_scalar(value: object) -> None:
    with pytest.raises(TypeError, match="loss"):
        capture.scalar(value, "loss")


@pytest.mark.parametrize("value", [np.zeros(2), np.zeros((1, 0)), [1, 2], 10**400])
def test_scalars_of_another_size(value: object) -> None:
    with pytest.raises(ValueError, match=r"loss is an? "):
        capture.scalar(value, "loss")


@pytest.mark.parametrize("dtype", NUMPY_DTYPES)
def test_element_reads_what_was_captured(dtype: str) -> None:
    result = Captured(np.array([1], dtype))
    result.wait()
    assert element(result.slot, dtype) == 1.0


def test_element_of_bfloat16() -> None:
    assert element(memoryview(b"\xc0\x3f"), "bfloat16") == 1.5


def test_types_without_end_do_not_accumulate() -> None:
    for number in range(3 * capture._MAX_TYPES):
        kind = type(f"Float{number}", (float,), {})
        assert capture.scalar(kind(1), "value") == 1.0
    assert len(capture._frameworks) <= capture._MAX_TYPES


def test_no_framework_is_imported_for_numpy() -> None:
    code = (
        "import sys, numpy\n"
        "from boardd_client import capture\n"
        "capture.tensor(numpy.zeros(3), 'values'); capture.scalar(1, 'value')\n"
        "roots = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not roots & {'mxnet', 'torch', 'jax', 'jaxlib', 'tensorflow'}, roots\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
