"""One setting of the daemon: its name in every source, and how its text becomes a value."""

from __future__ import annotations

import dataclasses
import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from boardd_protos import address, remote_logdir
from boardd_protos.limits import MAX_MESSAGE_BYTES, MIN_MESSAGE_BYTES

from boardd.core.budget import LEAST_MEMORY_BYTES, LEAST_SPOOL_BYTES, share_of_memory
from boardd.core.sync_policy import SyncPolicy
from boardd.settings import host_limits

_SIZE = re.compile(r"(\d+)\s*([KMGT]i?)?B?", re.IGNORECASE)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_POWERS: Final = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


@dataclass(frozen=True)
class SettingType:
    """How the text of a setting becomes a value.

    ``parse`` takes the text and the directory that a relative path starts
    from, and raises ``ValueError`` with what was expected. ``toml_types`` are
    the types such a value may have in a TOML file; ``show`` is for ``--help``.
    """

    metavar: str
    parse: Callable[[str, Path], Any]
    toml_types: tuple[type, ...]
    show: Callable[[Any], str] = str


@dataclass(frozen=True)
class Option:
    """One setting, whatever its source."""

    name: str  #: with dashes: the key in a file
    kind: SettingType
    group: str
    help: str
    repeatable: bool = False
    in_file: bool = True
    default_text: str = ""  #: shown in place of a default that would not help a reader
    field: str = ""  #: of ``Config``; filled in by ``OPTIONS``

    @property
    def flag(self) -> str:
        """The command-line flag."""
        return f"--{self.name}"

    @property
    def variable(self) -> str:
        """The environment variable."""
        return "BOARDD_" + self.name.replace("-", "_").upper()

    def shown_default(self, default: Any) -> str:
        """``default``, the value without any source, as it is shown to people."""
        return self.default_text or ("none" if default is None else self.kind.show(default))


def parse_size(text: str) -> int:
    """Bytes in ``text``: ``4096``, ``512MiB`` (binary), ``512MB`` (decimal).

    Raises ``ValueError`` for anything else and for zero.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or int(match[1]) == 0:
        raise ValueError("expected a size such as 65536, 64MiB or 2GiB")
    unit = match[2] or ""
    base = 1024 if unit.lower().endswith("i") else 1000
    return int(match[1]) * int(base ** _POWERS[unit[:1].upper()])


def format_size(size_bytes: int) -> str:
    """``size_bytes`` in the largest binary unit that divides it."""
    for power, unit in ((4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")):
        if size_bytes and size_bytes % 1024**power == 0:
            return f"{size_bytes // 1024**power}{unit}"
    return str(size_bytes)


def _path(text: str, base: Path) -> Path:
    if not text:
        raise ValueError("expected a path")
    return Path(os.path.abspath(base / os.path.expanduser(text)))


def _root(text: str, base: Path) -> Path | str:
    if remote_logdir.is_remote(remote_logdir.checked(text)):
        return remote_logdir.checked(text)
    return _path(text, base)


def _socket(text: str, base: Path) -> Path:
    path = _path(text.removeprefix("unix:"), base)
    parsed = address.parse(f"unix:{path}")
    assert isinstance(parsed, address.UnixAddress)
    return parsed.path


def _listen(text: str, base: Path) -> address.TcpAddress:
    parsed = address.parse(text)
    if not isinstance(parsed, address.TcpAddress):
        raise ValueError("expected HOST:PORT; a Unix socket is named by --socket")
    return parsed


def _seconds(text: str, base: Path) -> float:
    value: float = _number(float, text, "a number of seconds")
    if not (math.isfinite(value) and value >= 0):
        raise ValueError("expected a number of seconds, 0 or more")
    return value


def _positive_seconds(text: str, base: Path) -> float:
    value = _seconds(text, base)
    if value == 0:
        raise ValueError("expected a number of seconds above 0")
    return value


def _sync(text: str, base: Path) -> SyncPolicy:
    if text in ("never", "flush"):
        return SyncPolicy(on_flush=text == "flush")
    try:
        return SyncPolicy(_positive_seconds(text, base))
    except ValueError:
        raise ValueError("expected never, flush, or a number of seconds above 0") from None


def _message_size(text: str, base: Path) -> int:
    value = parse_size(text)
    # Clients send tensors in chunks of 1 MiB; gRPC holds a whole message in memory.
    if not MIN_MESSAGE_BYTES <= value <= MAX_MESSAGE_BYTES:
        raise ValueError(
            f"expected a size from {format_size(MIN_MESSAGE_BYTES)} to "
            f"{format_size(MAX_MESSAGE_BYTES)}"
        )
    return value


def _memory(text: str, base: Path) -> int:
    match = _PERCENT.fullmatch(text.strip())
    if match is not None:
        percent = float(match[1])
        if not 0 < percent <= 100:
            raise ValueError("expected a share above 0% and up to 100%")
        return share_of_memory(host_limits.memory_bytes(), percent)
    try:
        value = parse_size(text)
    except ValueError:
        raise ValueError("expected a size such as 2GiB, or a share such as 50%") from None
    if value < LEAST_MEMORY_BYTES:
        raise ValueError(f"expected at least {format_size(LEAST_MEMORY_BYTES)}")
    return value


def _spool_size(text: str, base: Path) -> int:
    value = parse_size(text)
    if value < LEAST_SPOOL_BYTES:
        raise ValueError(f"expected at least {format_size(LEAST_SPOOL_BYTES)}")
    return value


def _number(kind: type[Any], text: str, expected: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"expected {expected}") from None


def _whole(lowest: int, highest: int) -> Callable[[str, Path], int]:
    expected = f"a whole number from {lowest} to {highest}"

    def parse(text: str, base: Path) -> int:
        value: int = _number(int, text, expected)
        if not lowest <= value <= highest:
            raise ValueError(f"expected {expected}")
        return value

    return parse


def _truth(text: str, base: Path) -> bool:
    values = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if text.lower() not in values:
        raise ValueError("expected true or false")
    return values[text.lower()]


def _choice(*choices: str) -> Callable[[str, Path], str]:
    def parse(text: str, base: Path) -> str:
        if text not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return text

    return parse


LEVELS: Final = ("debug", "info", "warning", "error")
LOG_FORMATS: Final = ("auto", "text", "json")

PATH: Final = SettingType("PATH", _path, (str,))
ROOT: Final = SettingType("DIR", _root, (str,))
SOCKET: Final = SettingType("PATH", _socket, (str,))
LISTEN: Final = SettingType("HOST:PORT", _listen, (str,))
SECONDS: Final = SettingType("SECS", _seconds, (int, float), lambda value: f"{value:g}")
POSITIVE_SECONDS: Final = dataclasses.replace(SECONDS, parse=_positive_seconds)
SYNC: Final = SettingType("WHEN", _sync, (int, float, str))
SIZE: Final = SettingType("SIZE", lambda text, base: parse_size(text), (int, str), format_size)
MESSAGE_SIZE: Final = dataclasses.replace(SIZE, parse=_message_size)
SPOOL_SIZE: Final = dataclasses.replace(SIZE, parse=_spool_size)
MEMORY: Final = SettingType("SIZE|N%", _memory, (int, str), format_size)
COUNT: Final = SettingType("N", _whole(1, 2**31 - 1), (int,))
NICE: Final = SettingType("N", _whole(0, 19), (int,))
TRUTH: Final = SettingType("", _truth, (bool,))
LEVEL: Final = SettingType("LEVEL", _choice(*LEVELS), (str,))
LOG_FORMAT: Final = SettingType("FORMAT", _choice(*LOG_FORMATS), (str,))
