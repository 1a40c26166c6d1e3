"""What a walk over frames yields, back as single frames and as bytes."""

from __future__ import annotations

from collections.abc import Iterable

from boardd.core.intake.frames import WalkedFrames
from boardd_protos.frame import Frame, decode, encode


def bytes_of(walked: Iterable[WalkedFrames]) -> bytes:
    """The frames as they lie in a message."""
    return b"".join(
        encode(found) if isinstance(found, Frame) else found.headers.tobytes() for found in walked
    )


def frames_of(walked: Iterable[WalkedFrames]) -> list[Frame]:
    """Each frame by itself."""
    return list(decode(bytes_of(walked)))
