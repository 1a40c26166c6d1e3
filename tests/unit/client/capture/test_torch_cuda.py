"""CUDA: snapshots of a stream's values, taken without waiting for the stream."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from boardd_client import capture
from boardd_client.errors import CaptureError
from boardd_client.memory.pinning import PinnableMap
from boardd_protos.dtypes import element
from support.capturing import WAIT_SECS, Captured, captured

torch = pytest.importorskip("torch", reason="needs torch", exc_type=ImportError)

if not torch.cuda.is_available():
    pytest.skip("no CUDA device", allow_module_level=True)

from boardd_client.capture import torch_cuda  # noqa: E402

#: A call only enqueues; what it may take on a busy machine is far below the work queued.
CALL_SECS = 0.02


@pytest.fixture(scope="module")
def matrix() -> Any:
    made = torch.full((4096, 4096), 1 / 4096, device="cuda")
    captured(made @ made)  # libraries are loaded, kernels warm
    captured(torch.ones(1 << 20, device="cuda").mean())
    return made


def busy(matrix: Any, secs: float = 1.0) -> Any:
    """Queues work of about so long on the current stream; returns its result, all 1/4096."""
    torch.cuda.synchronize()
    begin = time.perf_counter()
    later = matrix
    for _ in range(10):
        later = later @ matrix
    torch.cuda.synchronize()
    for _ in range(int(10 * secs / (time.perf_counter() - begin))):
        later = later @ matrix
    return later


def test_a_call_does_not_wait_for_the_stream(matrix: Any) -> None:
    source = torch.full((1 << 20,), 3.0, device="cuda")
    source += busy(matrix)[0, 0] * 0
    begin = time.perf_counter()
    result = Captured(source)
    loss = capture.scalar(source.mean(), "loss")
    slot = memoryview(bytearray(loss.size_bytes))
    pending = loss.copy_into(slot)
    took_secs = time.perf_counter() - begin
    source.fill_(7)
    assert not torch.cuda.current_stream().query(), "the device was idle: nothing was shown"
    assert took_secs < CALL_SECS
    assert not pending.is_done()
    np.testing.assert_array_equal(result.values(), np.full(1 << 20, 3, np.float32))
    torch.cuda.synchronize()
    assert pending.is_done()
    pending.wait()
    assert element(slot, "float32") == 3.0


def test_a_wait_does_not_hold_the_stream_up(matrix: Any) -> None:
    source = torch.ones(1 << 22, device="cuda")
    last = busy(matrix, 0.5)
    result = Captured(source + last[0, 0] * 0)
    waiter = threading.Thread(target=result.wait, daemon=True)
    waiter.start()
    slowest_secs = 0.0
    for _ in range(200):
        begin = time.perf_counter()
        source.add_(1)
        slowest_secs = max(slowest_secs, time.perf_counter() - begin)
    assert not torch.cuda.current_stream().query(), "the device was idle: nothing was shown"
    assert slowest_secs < CALL_SECS
    waiter.join(WAIT_SECS)
    np.testing.assert_array_equal(result.values(), np.ones(1 << 22, np.float32))


def test_every_write_in_place_comes_after_the_snapshot(matrix: Any) -> None:
    source = torch.zeros(1 << 18, device="cuda")
    busy(matrix, 0.2)
    seen = []
    for step in range(50):
        seen.append(Captured(source))
        source.add_(1)
        assert seen[step].pending is not None
    for step, result in enumerate(seen):
        np.testing.assert_array_equal(result.values(), np.full(1 << 18, step, np.float32))


def test_memory_that_the_allocator_hands_out_again_is_not_read(matrix: Any) -> None:
    """Sources and clones die at once, and the same sizes are allocated and overwritten."""
    seen = []
    for step in range(200):
        if step % 50 == 0:
            busy(matrix, 0.1)
        elements = 1 << (10 + step % 9)
        seen.append((step, Captured(torch.full((elements,), float(step), device="cuda"))))
        for _ in range(3):
            torch.full((elements,), -1.0, device="cuda")
        if step % 7 == 0:
            for number, result in seen:
                assert (result.values() == number).all()
                torch.full(result.tensor.shape, -1.0, device="cuda")
            seen.clear()
    assert all((result.values() == step).all() for step, result in seen)


def test_streams_of_the_caller(matrix: Any) -> None:
    streams = [torch.cuda.Stream() for _ in range(4)]
    torch.cuda.synchronize()
    seen = []
    for step in range(20):
        with torch.cuda.stream(streams[step % 4]):
            if step < 4:
                busy_result = matrix
                for _ in range(50):
                    busy_result = busy_result @ matrix
            source = torch.full((100_000,), float(step), device="cuda")
            seen.append(Captured(source.mul_(2)))
            source.fill_(-1)
    for step, result in enumerate(seen):
        assert (result.values() == 2 * step).all()
    torch.cuda.synchronize()


def test_threads_that_wait_at_once() -> None:
    seen = [Captured(torch.full((1 << 16,), float(n), device="cuda")) for n in range(16)]
    threads = [threading.Thread(target=result.wait) for result in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECS)
    assert [result.values()[0] for result in seen] == list(range(16))


def test_layouts_and_bits() -> None:
    source = torch.arange(24.0, device="cuda").reshape(4, 6)
    for value in (
        source.T,
        source[::2, 1::3],
        source[:1].expand(3, 6),
        source.to(torch.bfloat16),
        source > 3,
        torch.complex(source, source).conj().imag,
        source[0, 0],
        source[:0],
    ):
        np.testing.assert_array_equal(captured(value), value.cpu().float().numpy())


def test_a_graph_under_capture_loses_the_record_only() -> None:
    source = torch.zeros(10, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        source += 1
        result = Captured(source)
    with pytest.raises(CaptureError, match="graph"):
        result.wait()
    graph.replay()
    assert captured(source).tolist() == [1] * 10


def test_a_wait_does_not_break_the_capture_of_a_graph(matrix: Any) -> None:
    source = torch.zeros(1 << 20, device="cuda")
    graph = torch.cuda.CUDAGraph()
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        graph.capture_begin(capture_error_mode="global")
        static = source + 1
        # Made on a thread of its own: this one's stream is being captured.
        values: list[np.ndarray] = []
        thread = threading.Thread(target=lambda: values.append(_captured_elsewhere(matrix)))
        thread.start()
        thread.join(WAIT_SECS)
        static += 1
        graph.capture_end()
    graph.replay()
    torch.cuda.synchronize()
    assert (captured(static) == 2).all()
    assert (values[0] == np.float32(1 / 4096)).all()


def _captured_elsewhere(matrix: Any) -> np.ndarray:
    torch_cuda._relax_capture_mode()  # for the clone that this thread makes
    return captured(matrix[:16])


def test_a_clone_without_memory_loses_the_record_only() -> None:
    torch.cuda.empty_cache()
    free_bytes, total_bytes = torch.cuda.mem_get_info()
    source = torch.ones(min(256 << 20, free_bytes // 4), dtype=torch.uint8, device="cuda")
    limit = (torch.cuda.memory_reserved() + (1 << 20)) / total_bytes
    torch.cuda.set_per_process_memory_fraction(limit)
    try:
        value = capture.tensor(source, "values")
        pending = value.copy_into(memoryview(bytearray(value.size_bytes)))
        with pytest.raises(CaptureError, match=r"no snapshot of a tensor on cuda:0: .*memory"):
            pending.wait()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert captured(source[:10]).tolist() == [1] * 10


@pytest.fixture
def shared() -> Iterator[memoryview]:
    size_bytes = 3 * torch_cuda.GRANULE_BYTES + 4096
    descriptor = os.memfd_create("boardd-test")
    os.ftruncate(descriptor, size_bytes)
    yield memoryview(PinnableMap(descriptor, size_bytes))
    os.close(descriptor)


def is_pinned(memory: memoryview) -> bool:
    return bool(torch.frombuffer(memory, dtype=torch.uint8).is_pinned())


def transfer(source: Any, slot: memoryview) -> np.ndarray:
    value = capture.tensor(source, "values")
    given = slot[: value.size_bytes]
    pending = value.copy_into(given)
    source.fill_(-1)
    pending.wait()
    return np.frombuffer(given, np.float32).copy()


def test_pages_that_are_used_again_are_registered(shared: memoryview) -> None:
    for step in range(4):
        values = transfer(torch.full((1 << 20,), float(step), device="cuda"), shared)
        assert (values == step).all()
        assert is_pinned(shared[:64]) == (step > 0)
    assert not is_pinned(shared[torch_cuda.GRANULE_BYTES :][:64])


def test_small_transfers_register_nothing(shared: memoryview) -> None:
    for step in range(5):
        assert transfer(torch.full((), float(step), device="cuda"), shared).tolist() == [step]
    assert not is_pinned(shared[:64])


def test_slots_that_cross_registrations(shared: memoryview) -> None:
    granule = torch_cuda.GRANULE_BYTES
    for step, start in enumerate((granule - 4096, granule - 64, 0, 2 * granule + 192, 64)):
        elements = (len(shared) - start) // 4
        expected = torch.arange(elements, device="cuda").float() + step
        values = transfer(expected.clone(), shared[start:])
        np.testing.assert_array_equal(values, expected.cpu().numpy())


def test_a_registration_ends_before_the_memory_is_unmapped() -> None:
    size_bytes = torch_cuda.GRANULE_BYTES
    for step in range(20):  # the addresses are used anew
        descriptor = os.memfd_create("boardd-test")
        os.ftruncate(descriptor, size_bytes)
        memory = memoryview(PinnableMap(descriptor, size_bytes))
        os.close(descriptor)
        for _ in range(3):
            values = transfer(torch.full((1 << 20,), float(step), device="cuda"), memory)
            assert (values == step).all()
        assert is_pinned(memory[:64])
        del memory
    assert len(torch_cuda._registered) == 0


def test_transfers_go_on_where_registration_is_refused(shared: memoryview) -> None:
    cudart = torch.cuda.cudart()
    address = torch.frombuffer(shared, dtype=torch.uint8).data_ptr()
    # A registration that is there already makes ours fail.
    assert int(cudart.cudaHostRegister(address, 4096, 0)) == 0
    try:
        for step in range(4):
            values = transfer(torch.full((1 << 20,), float(step), device="cuda"), shared[4096:])
            assert (values == step).all()
    finally:
        assert int(cudart.cudaHostUnregister(address)) == 0


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="only one CUDA device")
def test_a_device_that_is_not_the_current_one() -> None:
    source = torch.full((1000,), 3.0, device="cuda:1")
    result = Captured(source)
    source.fill_(7)
    assert (result.values() == 3).all()
    assert torch.cuda.current_device() == 0
