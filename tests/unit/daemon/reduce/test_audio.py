"""WAV files hold what Python's own reader finds in them, converted as MXBoard does."""

from __future__ import annotations

import io
import wave

import numpy as np
import pytest
from boardd.reduce.audio import Wav, encode_wav
from boardd_protos.invalid import InvalidTensorError


def read_back(wav: Wav) -> np.ndarray:
    with wave.open(io.BytesIO(wav.data)) as reader:
        assert reader.getframerate() == wav.sample_rate
        assert reader.getnchannels() == wav.channels
        assert reader.getsampwidth() == 2
        assert reader.getnframes() == wav.length_frames
        assert reader.getcomptype() == "NONE"
        frames = reader.readframes(wav.length_frames)
    return np.frombuffer(frames, "<i2").reshape(wav.length_frames, wav.channels)


def written_by_wave(samples, sample_rate, channels=1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(2)
        writer.setframerate(sample_rate)
        writer.writeframes(np.asarray(samples, "<i2").tobytes())
    return file.getvalue()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_equals_mxboards_file(dtype):
    samples = np.random.default_rng(0).uniform(-1, 1, 3000).astype(dtype)
    expected = [int(32767.0 * float(value)) for value in samples]
    assert encode_wav(samples, 44100).data == written_by_wave(expected, 44100)


def test_blocks_make_one_file(monkeypatch):
    samples = np.random.default_rng(0).uniform(-1, 1, (1000, 2))
    whole = encode_wav(samples, 8000)
    monkeypatch.setattr("boardd.reduce.audio._BLOCK", 7)
    assert encode_wav(samples, 8000) == whole


def test_values_outside_are_clipped_and_nan_is_silence():
    samples = np.array([-2, -1, -0.0, 0.5, 1, 1.5, np.inf, -np.inf, np.nan, 1e-9, -0.99999])
    assert read_back(encode_wav(samples, 8000))[:, 0].tolist() == [
        *(-32767, -32767, 0, 16383, 32767, 32767, 32767, -32767, 0, 0, -32766)
    ]


def test_int16_is_kept():
    samples = np.array([-32768, -1, 0, 1, 32767], np.int16)
    for given in (samples, samples.astype(">i2"), np.repeat(samples, 2)[::2]):
        assert read_back(encode_wav(given, 16000))[:, 0].tolist() == samples.tolist()


@pytest.mark.parametrize("shape", [(6,), (1, 6), (6, 1), (1, 1, 6), (1, 6, 1)])
def test_one_channel(shape):
    samples = np.arange(6, dtype=np.int16)
    wav = encode_wav(samples.reshape(shape), 8000)
    assert (wav.length_frames, wav.channels) == (6, 1)
    assert read_back(wav)[:, 0].tolist() == list(range(6))


@pytest.mark.parametrize("length", [2, 3, 50])
def test_two_channels(length):
    frames = np.arange(2 * length, dtype=np.int16).reshape(length, 2)
    layouts = [frames, frames[np.newaxis]]
    if length > 2:
        layouts += [frames.T, np.ascontiguousarray(frames.T)]
    for samples in layouts:
        wav = encode_wav(samples, 8000)
        assert (wav.length_frames, wav.channels) == (length, 2)
        np.testing.assert_array_equal(read_back(wav), frames)
        assert wav.data == written_by_wave(frames, 8000, channels=2)


@pytest.mark.parametrize("samples", [np.array(0.5), np.array([0.5]), np.array([[0.5]])])
def test_one_sample(samples):
    assert read_back(encode_wav(samples, 1)).tolist() == [[16383]]


@pytest.mark.parametrize(
    ("samples", "sample_rate", "message"),
    [
        (np.zeros(0), 8000, r"\(0,\)"),
        (np.zeros((0, 2)), 8000, r"\(0, 2\)"),
        (np.zeros((5, 3)), 8000, r"\(5, 3\)"),
        (np.zeros((2, 3, 4)), 8000, r"\(2, 3, 4\)"),
        (np.zeros(5, np.int32), 8000, "int32"),
        (np.zeros(5, np.uint8), 8000, "uint8"),
        (np.zeros(5, bool), 8000, "bool"),
        (np.zeros(5, complex), 8000, "complex128"),
        (np.zeros(5), 0, "rate of 0"),
        (np.zeros(5), -1, "rate of -1"),
        (np.zeros(5), 2**31, str(2**31)),
    ],
)
def test_what_makes_no_file(samples, sample_rate, message):
    with pytest.raises(InvalidTensorError, match=message):
        encode_wav(samples, sample_rate)


def test_more_than_a_file_can_hold():
    endless = np.broadcast_to(np.int16(0), (2**31,))
    with pytest.raises(InvalidTensorError, match="4 GiB"):
        encode_wav(endless, 8000)
