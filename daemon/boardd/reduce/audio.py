"""Audio samples to WAV, 16-bit PCM.

Layout: Multimedia Programming Interface and Data Specifications 1.0 (IBM and
Microsoft, 1991), RIFF chunks "fmt " and "data".
"""

from __future__ import annotations

import dataclasses
import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from boardd_protos.invalid import InvalidTensorError
from boardd_protos.limits import MAX_UINT32, WAV_SAMPLE_BYTES, max_sample_rate

#: The sample value of 1.0; MXBoard's and TensorFlow's scale.
_FULL_SCALE: Final = 32767.0

_PCM: Final = 1

#: "RIFF" size "WAVE", "fmt " size format channels rate byte rate frame bytes bits, "data" size.
_HEADER: Final = struct.Struct("<4sI4s4sIHHIIHH4sI")

#: Samples converted at a time.
_BLOCK: Final = 1 << 20


@dataclasses.dataclass(frozen=True)
class Wav:
    """A WAV file ``data`` of ``length_frames`` frames of ``channels`` samples."""

    data: bytes
    sample_rate: int
    length_frames: int
    channels: int


def encode_wav(samples: npt.NDArray[Any], sample_rate: int) -> Wav:
    """Returns ``samples`` as a WAV file.

    Args:
        samples: float16, float32 or float64 (bfloat16 comes as float32) in
            [-1, 1], which are multiplied by 32767 in float64 and truncated, as
            MXBoard does; values outside are clipped, NaN is silence. Or int16,
            as it is. Dimensions of length 1 are dropped; what is left is one
            channel [length], or two channels [length, 2] as tensorboardX takes
            them or [2, length]; [2, 2] is two frames of two channels.
        sample_rate: frames a second, in hertz, at least 1.

    Raises ``InvalidTensorError`` for another dtype or shape, no samples, or more or a
    higher rate than a WAV file can hold.
    """
    if samples.dtype.str[1:] not in ("i2", "f2", "f4", "f8"):
        raise InvalidTensorError(f"samples of {samples.dtype}; give floats in [-1, 1] or int16")
    frames = samples.squeeze()
    if frames.ndim == 0:
        frames = frames.reshape(1)
    if frames.ndim == 1:
        frames = frames[:, np.newaxis]
    elif frames.ndim == 2 and frames.shape[1] != 2:
        frames = frames.T
    if frames.size == 0 or frames.ndim != 2 or frames.shape[1] not in (1, 2):
        raise InvalidTensorError(
            f"samples of shape {samples.shape}; give [length], [length, 2] or [2, length]"
        )
    length_frames, channels = frames.shape
    frame_bytes = channels * WAV_SAMPLE_BYTES
    data_bytes = length_frames * frame_bytes
    if not (1 <= sample_rate <= max_sample_rate(channels)):
        raise InvalidTensorError(
            f"a sample rate of {sample_rate}; give 1 to {max_sample_rate(channels)} hertz"
        )
    if _HEADER.size - 8 + data_bytes > MAX_UINT32:
        raise InvalidTensorError(f"{data_bytes} bytes of samples; a WAV file holds less than 4 GiB")
    header = _HEADER.pack(
        b"RIFF",
        _HEADER.size - 8 + data_bytes,
        b"WAVE",
        b"fmt ",
        16,
        _PCM,
        channels,
        sample_rate,
        sample_rate * frame_bytes,
        frame_bytes,
        8 * WAV_SAMPLE_BYTES,
        b"data",
        data_bytes,
    )
    file = np.empty(_HEADER.size + data_bytes, np.uint8)
    file[: _HEADER.size] = np.frombuffer(header, np.uint8)
    pcm = file[_HEADER.size :].view("<i2").reshape(length_frames, channels)
    for start in range(0, length_frames, _BLOCK):
        part = frames[start : start + _BLOCK]
        pcm[start : start + _BLOCK] = part if part.dtype.kind == "i" else _quantized(part)
    return Wav(file.tobytes(), sample_rate, length_frames, channels)


def _quantized(part: npt.NDArray[Any]) -> npt.NDArray[np.int16]:
    # Newer NumPy warns of signalling NaNs.
    with np.errstate(invalid="ignore"):
        scaled = part.astype(np.float64)
    scaled[np.isnan(scaled)] = 0
    np.clip(scaled, -1.0, 1.0, out=scaled)
    scaled *= _FULL_SCALE
    return scaled.astype(np.int16)
