"""Texts of errors without the secrets that they may quote. Pure."""

from __future__ import annotations

import re
from typing import Final

_NAMES: Final = (
    r"[\w.-]*(?:signature|credential|token|key|secret|password|passwd|pwd|authorization)[\w-]*|sig"
)
#: As in a URL's query, a header, JSON, or what Python prints of a dict.
_ASSIGNED: Final = re.compile(
    rf"(?i)(?<![\w-])((?:{_NAMES})[\"']?\s*[=:]\s*)"
    r"(?:\"[^\"]*\"|'[^']*'|(?:(?:bearer|basic|aws4-hmac-sha256)\s+)?[^&\s'\",;]+)"
)
_SCHEME: Final = re.compile(r"(?i)\b((?:bearer|basic)\s+)[\w.~+/=-]{8,}")
_USER: Final = re.compile(r"(://)[^\s/@'\"]+@")


def masked(text: str) -> str:
    """``text`` without what may be a password, a key, a token or a signature."""
    text = _USER.sub(r"\1...@", text)
    text = _ASSIGNED.sub(r"\1...", text)
    return _SCHEME.sub(r"\1...", text)
