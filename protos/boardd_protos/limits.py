"""Limits that the client checks at the call and the daemon checks again, each once.

A client in another language meets the daemon's check alone. ``tags`` has the
limits of names.
"""

from __future__ import annotations

from typing import Final

MAX_UINT32: Final = (1 << 32) - 1

#: Bytes of a message that a daemon takes unless its operator sets another size.
DEFAULT_MESSAGE_BYTES: Final = 4 << 20
#: The smallest and the largest size that an operator can set. A payload must fit the
#: smallest, and gRPC holds a message of the largest in memory as a whole.
MIN_MESSAGE_BYTES: Final = 2 << 20
MAX_MESSAGE_BYTES: Final = 64 << 20
#: Bytes of a payload, arrays excluded. It travels in one frame and a frame in one message.
MAX_PAYLOAD_BYTES: Final = 1 << 20

#: A longer timeout, in seconds, is taken for this one, which is 23 days: no clock, no library
#: and no system call fails on it (``poll`` takes 31 bits of milliseconds).
MAX_TIMEOUT_SECS: Final = 2e6

#: Characters of a program's name that a daemon keeps of a client.
MAX_PROGRAM_TEXT: Final = 256

#: Tensors of one record.
MAX_TENSORS: Final = 16
#: Dimensions of a tensor: what every supported NumPy can hold.
MAX_DIMENSIONS: Final = 32

#: Buckets of a histogram, given as a count or as edges (one more than buckets).
#: TensorBoard keeps up to 500 histograms of a tag in memory, as three float64 for each
#: bucket: 750 MiB with this many buckets, and 12 GiB with 2**20. Edges travel in the payload,
#: and 8 bytes for each leave half of it free.
MAX_BINS: Final = 65_536
#: Rules of ``numpy.histogram_bin_edges`` that find the number of buckets.
NUMPY_BIN_RULES: Final = ("auto", "fd", "doane", "scott", "stone", "rice", "sturges", "sqrt")
#: TensorFlow's exponential edges, by MXBoard's name of them.
DEFAULT_BINS: Final = "default"

#: Histograms of one record, and the bytes of their events, about, if all buckets are filled.
MAX_HISTOGRAMS: Final = 1024
MAX_HISTOGRAMS_EVENT_BYTES: Final = 8 << 20

#: Thresholds of a precision-recall curve.
MAX_THRESHOLDS: Final = 65_536

#: Channels that an image can have: grey, RGB, RGBA.
IMAGE_CHANNELS: Final = (1, 3, 4)
#: Pixels of a grid, padding included, and of one frame of a video.
MAX_PIXELS: Final = 1 << 27
#: Images in a row of a grid if nobody says.
DEFAULT_NROW: Final = 8
#: Over what values are stretched to [0, 1]: all of a batch, or each image by itself.
NORMALIZATIONS: Final = ("batch", "image")
#: Width and height of a GIF, which has 16 bits for each.
MAX_GIF_SIDE: Final = 65_535
#: Frames of a video: at 50 a second, the most that browsers show, more than three minutes.
MAX_VIDEO_FRAMES: Final = 10_000

#: Bytes of one sample of a WAV file, as boardd writes it.
WAV_SAMPLE_BYTES: Final = 2

#: Rows of an embedding that the projector loads; of more, a sample is shown.
MAX_EMBEDDING_ROWS: Final = 100_000
#: Labels of all rows that are shown and all columns together. As text, each takes some
#: hundred bytes of the daemon for a while; a browser shows fewer.
MAX_LABELS: Final = 5_000_000


def max_sample_rate(channels: int) -> int:
    """The highest sample rate of a WAV file in hertz; its bytes a second are a uint32."""
    return MAX_UINT32 // (channels * WAV_SAMPLE_BYTES)
