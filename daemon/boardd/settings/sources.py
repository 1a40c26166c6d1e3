"""Where the settings of the daemon come from: flags, variables, a TOML file, defaults."""

from __future__ import annotations

import difflib
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, NamedTuple

from boardd_protos import address
from boardd_protos.remote_logdir import split_roots
from boardd_protos.variables import misspelt

from boardd.core.budget import MEMORY_BYTES, parts_of_memory, reducers_of, share_of_memory
from boardd.errors import ConfigError
from boardd.settings import host_limits
from boardd.settings.arguments import argument_parser
from boardd.settings.config import AUTOSTARTED_IDLE_SECS, OPTIONS, Config
from boardd.settings.option import Option

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_logger = logging.getLogger("boardd")

#: Of what the machine or the control group has, unless that is more than ``MEMORY_BYTES``.
_MEMORY_PERCENT: Final = 50.0

#: Beneath the user's directory of settings.
DEFAULT_FILE: Final = Path("boardd") / "config.toml"


class Source(Enum):
    """What a value was taken from."""

    FLAG = "flag"
    VARIABLE = "variable"
    FILE = "file"
    DEFAULT = "default"


class Origin(NamedTuple):
    """Where one value comes from; ``name`` is the flag's, the variable's or the file's."""

    source: Source
    name: str = ""


@dataclass(frozen=True)
class Settings:
    """The settings that count. ``origins`` are by field of ``config``."""

    config: Config
    origins: Mapping[str, Origin]
    file: Path | None  #: the one that was read
    default_file: Path | None  #: the one that is read if no other is named; it may not exist


def load(arguments: Sequence[str], environ: Mapping[str, str]) -> Config:
    """Returns the settings that count, as ``read`` does, without their origins."""
    return read(arguments, environ).config


def read(arguments: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Returns the settings from ``arguments``, ``environ`` and the file they name, checked.

    If they name no file, the user's ``default_file`` is read if it exists. One that cannot be
    read is wrong, unless it lies beneath what is other users' alone.

    Prints and leaves (``SystemExit``) for ``--help`` and ``--version``. Warns of each
    variable whose name is misspelt. Raises ``ConfigError``, naming the source and the value,
    for a setting that is unknown or wrong.
    """
    here = Path.cwd()
    flags = vars(argument_parser().parse_args(arguments))
    for name, meant in misspelt(environ).items():
        _logger.warning("ignoring %s: did you mean %s?", name, meant)
    values: dict[str, Any] = {}
    origins: dict[str, Origin] = {}
    for option in OPTIONS:
        text = environ.get(option.variable, "")
        if text:
            given: str | list[str] = split_roots(text) if option.repeatable else text
            values[option.field] = _parsed(option, given, here, option.variable)
            origins[option.field] = Origin(Source.VARIABLE, option.variable)
        if option.field in flags:
            values[option.field] = _parsed(option, flags[option.field], here, option.flag)
            origins[option.field] = Origin(Source.FLAG, option.flag)
    default = default_file(environ)
    file: Path | None = values.get("config")
    of_file: dict[str, Any] = {}
    if file is not None:
        of_file = _from_file(file, f"--config {file}")
    elif default is not None and _is_read(default):
        file, of_file = default, _from_file(default, str(default))
        if "socket" in of_file:
            raise ConfigError(
                f"{file}: socket: clients do not read this file, and would look for the daemon at "
                f"{address.default_address()}; leave it out, or give --socket or another --config"
            )
    origins = {field: Origin(Source.FILE, str(file)) for field in of_file} | origins
    values = of_file | values
    are_roots_given = "logdir_roots" in values
    if values.get("autostarted"):
        autostarted = Origin(Source.FLAG, "--autostarted")
        if "idle_exit_secs" not in values:
            values["idle_exit_secs"] = AUTOSTARTED_IDLE_SECS
            origins["idle_exit_secs"] = autostarted
        if not are_roots_given:
            # It runs as the user, for the user's own processes: it may write where they may.
            values["logdir_roots"] = (Path("/"),)
            origins["logdir_roots"] = autostarted
        for field in ("listen", "metrics"):  # nobody has asked for that here
            values[field] = None
            origins[field] = autostarted
    _fit_to_host(values, origins)
    config = Config(**values, are_roots_given=are_roots_given)
    config.check()
    return Settings(config, origins, file, default)


def _fit_to_host(values: dict[str, Any], origins: dict[str, Origin]) -> None:
    """Adds to ``values`` what nobody has set, and is a share of this machine or a part of that."""
    if "memory_bytes" not in values:
        share_bytes = share_of_memory(host_limits.memory_bytes(), _MEMORY_PERCENT)
        values["memory_bytes"] = min(share_bytes, MEMORY_BYTES)
    part = Origin(Source.DEFAULT, "memory-bytes")
    for field, size_bytes in parts_of_memory(values["memory_bytes"]).items():
        if field not in values:
            values[field] = size_bytes
            origins[field] = part
    if "reducers" not in values:
        # A daemon that a client has started leaves the client's processors.
        is_bound = not values.get("autostarted")
        values["reducers"] = reducers_of(host_limits.processors(is_bound=is_bound))


def default_file(environ: Mapping[str, str]) -> Path | None:
    """The file that is read if none is named; None for a user without a home directory.

    ``$XDG_CONFIG_HOME/boardd/config.toml``, else ``~/.config/boardd/config.toml``.
    """
    base = environ.get("XDG_CONFIG_HOME", "")
    if os.path.isabs(base):
        return base / DEFAULT_FILE
    home = environ.get("HOME", "")
    return Path(home) / ".config" / DEFAULT_FILE if os.path.isabs(home) else None


def _is_read(path: Path) -> bool:
    """Whether there is a file of this user's to be read. Raises ``ConfigError`` if it cannot be."""
    try:
        with open(path, "rb"):
            return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        if any(map(_is_own, (path, *path.parents))):
            raise ConfigError(
                f"{path}: {error.strerror}; make it readable, or name another with --config "
                "(/dev/null: none)"
            ) from None
        # A service is kept out of home directories, or has that of another user for its own.
        _logger.warning("no settings from %s: %s", path, error.strerror)
        return False


def _is_own(path: Path) -> bool:
    try:
        return os.stat(path).st_uid == os.geteuid()
    except OSError:
        return False


def _from_file(path: Path, called: str) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{called}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    options = {option.name: option for option in OPTIONS if option.in_file}
    values = {}
    for key, value in table.items():
        if key not in options:
            close = difflib.get_close_matches(key.replace("_", "-"), options, n=1)
            hint = f"did you mean {close[0]!r}?" if close else "see boardd --help for the settings"
            raise ConfigError(f"{path}: unknown setting {key!r}; {hint}")
        option = options[key]
        where = f"{path}: {key}"
        items = value if option.repeatable and isinstance(value, list) else [value]
        for item in items:
            # To Python a bool is an int, but a reader of the file does not mean a count by it.
            if type(item) not in option.kind.toml_types:
                names = " or ".join(kind.__name__ for kind in option.kind.toml_types)
                raise ConfigError(f"{where}: {item!r} is a {type(item).__name__}, expected {names}")
        texts = [str(item) for item in items]
        values[option.field] = _parsed(
            option, texts if option.repeatable else texts[0], path.parent, where
        )
    return values


def _parsed(option: Option, given: str | list[str] | bool, base: Path, where: str) -> Any:
    if isinstance(given, bool):
        return given
    texts = given if isinstance(given, list) else [given]
    parsed = []
    for text in texts:
        try:
            parsed.append(option.kind.parse(text, base))
        except address.AddressError as error:
            raise ConfigError(f"{where}: {error}") from None
        except ValueError as error:
            raise ConfigError(f"{where}: {text!r}: {error}") from None
    if not parsed:
        raise ConfigError(f"{where}: expected at least one value")
    return tuple(parsed) if option.repeatable else parsed[0]
