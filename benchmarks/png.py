"""Time and size of a 1064 x 1064 RGB picture as PNG, on one thread.

    python benchmarks/png.py

Three pictures: a photograph, a grid of 28 x 28 digits as grey values, and
noise, which no encoder can shrink. Every encoder takes its turn, round after
round. The photograph comes with scikit-learn.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from boardd.reduce.image.grid import image_grid
from boardd.reduce.image.png import encode_png
from PIL import Image

SIDE = 1064


def pictures() -> dict[str, np.ndarray]:
    """The pictures, uint8[1064, 1064, 3]."""
    from sklearn.datasets import load_digits, load_sample_image

    photo = np.tile(load_sample_image("china.jpg"), (3, 2, 1))[:SIDE, :SIDE]
    digits = load_digits().images[:1444] / 16
    enlarged = digits.repeat(3, axis=1).repeat(3, axis=2)
    grey = image_grid(enlarged, dataformats="NHW", nrow=38, padding=4)[:SIDE, :SIDE]
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return {
        "photograph": np.ascontiguousarray(photo),
        "digits": np.ascontiguousarray(grey.repeat(3, axis=2)),
        "noise": noise,
    }


def pillow(level: int) -> Callable[[np.ndarray], bytes]:
    def encode(pixels: np.ndarray) -> bytes:
        target = io.BytesIO()
        Image.fromarray(pixels).save(target, "PNG", compress_level=level)
        return target.getvalue()

    return encode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=7, help="runs each (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()

    encoders: dict[str, Callable[[np.ndarray], bytes]] = {
        "boardd": encode_png,
        "Pillow level 1": pillow(1),
        "Pillow level 3": pillow(3),
        "Pillow level 6 (default)": pillow(6),
    }
    if importlib.util.find_spec("cv2"):
        import cv2

        encoders["OpenCV level 1"] = lambda pixels: cv2.imencode(
            ".png", pixels[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1]
        )[1].tobytes()
    rows = []
    for title, pixels in pictures().items():
        if pixels.shape != (SIDE, SIDE, 3):
            raise AssertionError(f"the picture {title} has shape {pixels.shape}")
        sizes = {}
        for name, encode in encoders.items():
            data = encode(pixels)
            sizes[name] = len(data)
            if not np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels):
                raise AssertionError(f"{name} changed the pixels of {title}")
        cpu: dict[str, list[float]] = {name: [] for name in encoders}
        for _ in range(arguments.rounds):
            for name, encode in encoders.items():
                start = time.thread_time()
                encode(pixels)
                cpu[name].append(time.thread_time() - start)
        reference = statistics.median(cpu["Pillow level 1"])
        print(f"\n{title}\n{'':28}{'CPU ms':>9}{'of Pillow 1':>13}{'KiB':>8}")
        for name in encoders:
            seconds = statistics.median(cpu[name])
            print(f"{name:28}{seconds * 1e3:9.2f}{seconds / reference:13.3f}{sizes[name] >> 10:8}")
            rows.append(
                {
                    "picture": title,
                    "encoder": name,
                    "cpu_ms": round(seconds * 1e3, 3),
                    "share_of_pillow_1": round(seconds / reference, 4),
                    "size_bytes": sizes[name],
                }
            )
    if arguments.json:
        arguments.json.write_text(json.dumps({"side": SIDE, "results": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
