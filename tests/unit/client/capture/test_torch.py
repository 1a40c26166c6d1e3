from __future__ import annotations

import numpy as np
import pytest
from boardd_client import capture
from boardd_client.errors import CaptureError
from boardd_protos.dtypes import element
from support.capturing import Captured, captured

torch = pytest.importorskip("torch", reason="needs torch", exc_type=ImportError)

DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "bfloat16", "float32", "float64"),
)
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ),
]

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(dtype: str, device: str) -> None:
    values = np.arange(12).reshape(3, 4) % 2 if dtype == "bool" else np.arange(12).reshape(3, 4)
    source = torch.tensor(values).to(getattr(torch, dtype)).to(device)
    result = Captured(source)
    assert (result.tensor.dtype, result.tensor.shape) == (dtype, (3, 4))
    assert result.tensor.size_bytes == source.element_size() * 12
    np.testing.assert_array_equal(result.values(), values)


@pytest.mark.parametrize("device", DEVICES)
def test_every_layout(device: str) -> None:
    source = torch.arange(24.0, device=device).reshape(4, 6)
    for value in (
        source.T,
        source[::2, 1::3],
        source[1:1],
        source[0, 0],
        source[:1].expand(3, 6),
        source.reshape(1, 2, 3, 4).to(memory_format=torch.channels_last),
        torch.complex(source, source).conj().imag,  # its negative bit is set
        torch.nn.Parameter(source),
        source.requires_grad_() * 2,
    ):
        np.testing.assert_array_equal(captured(value), value.detach().cpu().numpy(force=True))


@pytest.mark.parametrize("device", DEVICES)
def test_the_copy_is_a_snapshot(device: str) -> None:
    source = torch.zeros(1000, device=device)
    result = Captured(source)
    source.fill_(7)
    assert not result.values().any()


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_are_untouched(device: str) -> None:
    weight = torch.tensor([1.0, 2.0], device=device, requires_grad=True)
    product = weight * weight
    seen = [Captured(weight), Captured(product)]
    product.sum().backward()
    assert weight.grad.tolist() == [2, 4]
    assert [result.values().tolist() for result in seen] == [[1, 2], [1, 4]]
    with torch.inference_mode():
        assert captured(weight * 3).tolist() == [3, 6]


def test_scalars_of_the_host_are_read_at_once() -> None:
    for value, expected in (
        (torch.tensor(1.5), 1.5),
        (torch.tensor([[2]]), 2.0),
        (torch.tensor(True), 1.0),
        (torch.tensor(2.5, dtype=torch.bfloat16), 2.5),
        (torch.tensor(3.5, requires_grad=True) * 1, 3.5),
    ):
        result = capture.scalar(value, "loss")
        assert type(result) is float
        assert result == expected


@pytest.mark.parametrize("shape", [(2,), (0,), (2, 2)])
def test_scalars_of_another_size(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"loss is a torch.Tensor of shape"):
        capture.scalar(torch.zeros(shape), "loss")


def test_refused() -> None:
    ones = torch.ones(2, 2)
    with pytest.raises(TypeError, match=r"sparse_coo: pass grad\.to_dense"):
        capture.tensor(ones.to_sparse(), "grad")
    with pytest.raises(TypeError, match=r"dtype torch.complex64"):
        capture.tensor(ones * 1j, "values")
    with pytest.raises(TypeError, match=r"dtype torch.float8_e4m3fn"):
        capture.tensor(ones.to(torch.float8_e4m3fn), "values")
    with pytest.raises(TypeError, match="meta"):
        capture.tensor(torch.ones(2, device="meta"), "values")
    with pytest.raises(TypeError, match=r"torch dtype, expected a Tensor"):
        capture.tensor(torch.float32, "values")
    with pytest.raises(TypeError, match="torch Linear, expected a Tensor"):
        capture.scalar(torch.nn.Linear(1, 1), "loss")
    with pytest.raises(TypeError, match=r"list of torch.Tensor.*stack"):
        capture.tensor([ones, ones], "values")


@pytest.mark.filterwarnings("ignore")
def test_quantized_tensors_are_refused() -> None:
    quantized = torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.quint8)
    with pytest.raises(TypeError, match=r"pass values\.dequantize"):
        capture.tensor(quantized, "values")


def test_tensors_without_memory_are_refused() -> None:
    refused = []

    def log(x: torch.Tensor) -> torch.Tensor:
        with pytest.raises(TypeError, match="inside a function transformation") as raised:
            capture.tensor(x, "values")
        refused.append(raised)
        return x

    torch.func.vmap(log)(torch.ones(3))
    assert len(refused) == 1


def test_subclasses_are_tensors() -> None:
    class Mine(torch.Tensor):
        pass

    assert captured(torch.ones(3).as_subclass(Mine)).tolist() == [1, 1, 1]


def test_a_device_without_streams_is_cloned_and_read_later() -> None:
    # The path of every accelerator but CUDA, run on the one device that is always there.
    from boardd_client.capture.torch import DeviceTensor

    source = torch.arange(6.0).reshape(2, 3).T
    value = DeviceTensor(source, "float32")
    slot = memoryview(bytearray(value.size_bytes))
    pending = value.copy_into(slot)
    expected = source.numpy().copy()
    source.fill_(-1)
    assert pending is not None
    assert not any(slot)
    pending.wait()
    np.testing.assert_array_equal(np.frombuffer(slot, np.float32).reshape(3, 2), expected)


@needs_cuda
def test_cuda_never_waits() -> None:
    import time

    matrix = torch.ones(4096, 4096, device="cuda") / 4096
    captured(matrix)  # allocations and kernels are warm
    torch.cuda.synchronize()
    later = matrix
    for _ in range(200):
        later = later @ matrix
    source = torch.full((1 << 20,), 3.0, device="cuda") + later[0, 0] * 0
    start = time.perf_counter()
    result = Captured(source)
    loss = capture.scalar(source.mean(), "loss")
    slot = memoryview(bytearray(loss.size_bytes))
    pending = loss.copy_into(slot)
    assert time.perf_counter() - start < 0.005
    source.fill_(7)
    assert not torch.cuda.current_stream().query(), "the device was idle: nothing was shown"
    np.testing.assert_array_equal(result.values(), np.full(1 << 20, 3, np.float32))
    pending.wait()
    assert element(slot, "float32") == 3.0


@needs_cuda
def test_cuda_graph_capture_loses_the_record_only() -> None:
    source = torch.zeros(10, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        source += 1
        result = Captured(source)
    with pytest.raises(CaptureError, match="graph"):
        result.wait()
