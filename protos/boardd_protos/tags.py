"""Tags and the names of runs: what is made of them, and how long they may be."""

from __future__ import annotations

import re
from typing import Final

#: Bytes of UTF-8 of a tag. Cleaning never lengthens one.
MAX_TAG_BYTES: Final = 1024
#: Bytes of one directory's or file's name, as Linux file systems take them.
MAX_NAME_BYTES: Final = 255
#: Bytes of a suffix of event files' names; the rest of such a name has up to 190.
MAX_SUFFIX_BYTES: Final = 64

#: Tags that TensorBoard's plugins look for.
HPARAMS_TAG: Final = "_hparams_/session_start_info"
CUSTOM_SCALARS_TAG: Final = "custom_scalars__config__"

_INVALID: Final = re.compile(r"[^-/\w.]")


def clean(tag: str) -> str:
    """Returns ``tag`` as MXBoard writes it; "" when nothing is left.

    Every character but letters, digits, ``_``, ``-``, ``.`` and ``/`` becomes
    ``_``; leading slashes go.
    """
    return _INVALID.sub("_", tag).lstrip("/")


def segments(path: str) -> list[str]:
    """Returns the names of directories in the relative ``path``; "." and empty ones go."""
    return [part for part in path.split("/") if part not in ("", ".")]
