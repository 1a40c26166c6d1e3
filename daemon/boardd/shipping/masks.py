"""Texts of errors without the secrets that they may quote. Pure."""

from __future__ import annotations

import re
from typing import Final

_NAMES: Final = r"[\w.-]*(?:signature|credential|token|key|secret|password|passwd|pwd)[\w-]*|sig"
#: Behind which a colon is enough. "NoSuchKey: " begins a message.
_HEADERS: Final = r"authorization|password|passwd|pwd|x-[\w-]*(?:token|key|signature)"
#: As in a URL's query, JSON, what Python prints of a dict, or a header.
_ASSIGNED: Final = re.compile(
    rf"(?i)(?<![\w-])((?:{_NAMES}|{_HEADERS})(?:[\"']?\s*=|[\"']\s*:)\s*|(?:{_HEADERS})\s*:\s*)"
    r"(?:\"[^\"]*\"|'[^']*'|(?:(?:bearer|basic|aws4-hmac-sha256)\s+)?[^&\s'\",;]+)"
)
_SCHEME: Final = re.compile(r"(?i)\b((?:bearer|basic)\s+)[\w.~+/=-]{8,}")
_USER: Final = re.compile(r"(://)[^\s/@'\"]+@")


def masked(text: str) -> str:
    """``text`` without what may be a password, a key, a token or a signature."""
    text = _USER.sub(r"\1...@", text)
    text = _ASSIGNED.sub(r"\1...", text)
    return _SCHEME.sub(r"\1...", text)
