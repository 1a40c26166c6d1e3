"""Transfers of CUDA tensors to a slot.

The caller's thread enqueues two things on the stream that computes: a clone of the
tensor on its device, and an event. Tensors that are logged together have one clone
and one event. The clone is the snapshot. Copying from the tensor itself, on a stream
of our own, would save the clone. But then the training's stream would have to know of
the next write in place (an optimizer's step, say) and wait for the bus before it. A
clone takes a few microseconds at the device's own bandwidth, about a hundred times
that of the bus. The price is device memory for one clone until it is transferred. If
PyTorch's allocator has no block left for it, it gives back its cache, which waits. So
does CUDA when it loads a kernel at its first use: the first clone of a tensor that is
not contiguous, or of several, may wait for the device once in a process, unless
``CUDA_MODULE_LOADING=EAGER`` is set.

``wait`` runs on another thread. It blocks until the event has happened, so the
training's stream is not in its way, and then transfers the clone on a stream of
its own. It gives up the clone only afterwards, because the allocator may hand the
memory to the training's stream, which knows nothing of our read.

Pages that are used again and again are registered with the driver, which then
writes to them directly. The driver copies to other pages, and to those it declines
to register, through a buffer of its own. That costs the waiting thread time and
the trainer nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import torch

from boardd_client.errors import CaptureError
from boardd_client.memory.pending import Failed
from boardd_client.memory.pinning import PinnableMap

#: Pages are registered in granules of this size, counted from the start of their map.
GRANULE_BYTES: Final = 8 << 20
#: Registering pages takes about as long as a few transfers through the driver's buffer.
_USES_BEFORE_REGISTERED: Final = 2
#: Smaller transfers are as fast through the buffer, so they are no reason to register pages.
_SMALL_BYTES: Final = 64 << 10

_PORTABLE: Final = 1  # CU_MEMHOSTREGISTER_PORTABLE: for all devices
_CAPTURE_MODE_RELAXED: Final = 2  # CU_STREAM_CAPTURE_MODE_RELAXED


def begin(device: Any, make_clone: Callable[[], Any], slot: memoryview) -> Transfer | Failed:
    """Enqueues a snapshot of what lies on a CUDA device, and returns.

    ``make_clone`` enqueues a contiguous clone of it on the current stream.
    """
    try:
        with _current(device):
            if torch.cuda.is_current_stream_capturing():
                return Failed("a CUDA graph was being captured; log outside the capture")
            clone = make_clone()
            # The thread that waits for a blocking event sleeps; for others it spins.
            cloned = torch.cuda.Event(blocking=True)
            cloned.record(torch.cuda.current_stream(device))
    except RuntimeError as error:  # torch.cuda.OutOfMemoryError is one
        return Failed(f"no snapshot of a tensor on {device}: {error}")
    return Transfer(clone, cloned, slot)


class Transfer:
    """The transfer of a clone that a CUDA stream is to make."""

    __slots__ = ("_clone", "_cloned", "_slot")

    def __init__(self, clone: Any, cloned: Any, slot: memoryview) -> None:
        self._clone = clone
        self._cloned = cloned
        self._slot = slot

    def is_done(self) -> bool:
        """Whether the clone is made; ``wait`` then takes no longer than the transfer."""
        _relax_capture_mode()
        try:
            return bool(self._cloned.query())
        except RuntimeError:
            return True  # ``wait`` says what is wrong

    def wait(self) -> None:
        """Waits for the clone, then transfers it."""
        device = self._clone.device
        try:
            _relax_capture_mode()
            # For good: going back to another device would initialise that one.
            torch.cuda.set_device(device)
            self._cloned.synchronize()
            source = self._clone.reshape(-1).view(torch.uint8)
            target = torch.frombuffer(self._slot, dtype=torch.uint8)
            done = torch.cuda.Event(blocking=True)
            with torch.cuda.stream(_side_stream(device)):
                for chunk in _chunks(self._slot, target.data_ptr()):
                    part = slice(chunk.start, chunk.stop)
                    target[part].copy_(source[part], non_blocking=chunk.is_registered)
                done.record()
            done.synchronize()
        except RuntimeError as error:
            raise CaptureError(f"the transfer from {device} failed: {error}") from None
        finally:
            del self._clone


def _current(device: Any) -> contextlib.AbstractContextManager[object]:
    """Makes a device the current one, if it is not."""
    if device.index == torch.cuda.current_device():
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[object] = torch.cuda.device(device)
    return context


_side_streams: dict[int, Any] = {}


def _side_stream(device: Any) -> Any:
    stream = _side_streams.get(device.index)
    if stream is None:
        stream = _side_streams[device.index] = torch.cuda.Stream(device)
    return stream


_thread: Final = threading.local()


def _relax_capture_mode() -> None:
    """Lets this thread wait while another captures a CUDA graph.

    By default a wait, a registration or an allocation on any thread makes the
    capture fail. Those of this thread have nothing to do with the capture.
    """
    if getattr(_thread, "is_relaxed", False):
        return
    _thread.is_relaxed = True
    exchange = _driver_function("cuThreadExchangeStreamCaptureMode")
    if exchange is not None:
        exchange(ctypes.byref(ctypes.c_int(_CAPTURE_MODE_RELAXED)))


def _driver_function(name: str) -> Any:
    """A function of the CUDA driver; None in a build for other devices and in older drivers."""
    try:
        return getattr(ctypes.CDLL("libcuda.so.1"), name)
    except (OSError, AttributeError):
        return None


class _Chunk(NamedTuple):
    """Bytes of a slot that one call copies: a copy must not cross registrations."""

    start: int
    stop: int
    is_registered: bool


def _chunks(slot: memoryview, address: int) -> Iterator[_Chunk]:
    """Cuts a slot, which lies at ``address``, where registered granules begin and end."""
    owner = slot.obj
    if not isinstance(owner, PinnableMap):
        yield _Chunk(0, len(slot), False)
        return
    registered = _registered_of(owner)
    offset = address - registered.address
    start = 0
    while start < len(slot):
        granule = (offset + start) // GRANULE_BYTES
        stop = min((granule + 1) * GRANULE_BYTES - offset, len(slot))
        yield _Chunk(start, stop, registered.use(granule, stop - start))
        start = stop


class _Registered:
    """The granules of one map that are registered. Used by one thread at a time."""

    def __init__(self, owner: PinnableMap) -> None:
        self.address: Final = ctypes.addressof(ctypes.c_char.from_buffer(owner))
        self._size_bytes = len(owner)
        self._uses: dict[int, int] = {}
        self._granules: set[int] = set()
        self._is_refused = False
        self._pid = os.getpid()

    def use(self, granule: int, size_bytes: int) -> bool:
        """Counts a use of ``size_bytes`` of a granule. Returns whether it is registered by now."""
        if granule in self._granules:
            return True
        if self._is_refused or size_bytes < _SMALL_BYTES:
            return False
        uses = self._uses[granule] = self._uses.get(granule, 0) + 1
        if uses < _USES_BEFORE_REGISTERED:
            return False
        return self._register(granule)

    def _register(self, granule: int) -> bool:
        start = granule * GRANULE_BYTES
        size_bytes = min(GRANULE_BYTES, self._size_bytes - start)
        # Not the runtime's cudaHostRegister: if that fails, PyTorch raises its error at the next
        # kernel that this thread launches, which is the transfer itself.
        register = _driver_function("cuMemHostRegister_v2")
        if register is None or register(
            ctypes.c_void_p(self.address + start), ctypes.c_size_t(size_bytes), _PORTABLE
        ):  # too much is locked already, or this memory cannot be
            self._is_refused = True
            return False
        self._granules.add(granule)
        return True

    def end(self) -> None:
        """Ends all registrations. A forked child has none."""
        granules, self._granules = self._granules, set()
        if os.getpid() != self._pid or sys.is_finalizing():
            return
        for granule in granules:
            with contextlib.suppress(RuntimeError):
                torch.cuda.cudart().cudaHostUnregister(self.address + granule * GRANULE_BYTES)


_registered: Final[weakref.WeakKeyDictionary[PinnableMap, _Registered]] = (
    weakref.WeakKeyDictionary()
)


def _registered_of(owner: PinnableMap) -> _Registered:
    registered = _registered.get(owner)
    if registered is None:
        registered = _registered[owner] = _Registered(owner)
        owner.before_unmap.append(registered.end)
    return registered
