"""Where the settings of the daemon come from: flags, variables, a TOML file, defaults."""

from __future__ import annotations

import difflib
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from boardd_protos import address
from boardd_protos.variables import misspelt

from boardd.errors import ConfigError
from boardd.settings.arguments import argument_parser
from boardd.settings.config import AUTOSTARTED_IDLE_SECS, OPTIONS, Config
from boardd.settings.option import Option

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_logger = logging.getLogger("boardd")


def load(arguments: Sequence[str], environ: Mapping[str, str]) -> Config:
    """Returns the settings from ``arguments``, ``environ`` and the file they name, checked.

    Prints and leaves (``SystemExit``) for ``--help`` and ``--version``. Warns of each
    variable whose name is misspelt. Raises ``ConfigError``, naming the source and the value,
    for a setting that is unknown or wrong.
    """
    here = Path.cwd()
    flags = vars(argument_parser().parse_args(arguments))
    for name, meant in misspelt(environ).items():
        _logger.warning("ignoring %s: did you mean %s?", name, meant)
    values: dict[str, Any] = {}
    for option in OPTIONS:
        text = environ.get(option.variable, "")
        if text:
            texts = [part for part in text.split(os.pathsep) if part]
            given: str | list[str] = texts if option.repeatable else text
            values[option.field] = _parsed(option, given, here, option.variable)
        if option.field in flags:
            values[option.field] = _parsed(option, flags[option.field], here, option.flag)
    file: Path | None = values.get("config")
    if file is not None:
        values = _from_file(file) | values
    if values.get("autostarted"):
        values.setdefault("idle_exit_secs", AUTOSTARTED_IDLE_SECS)
        values["listen"] = values["metrics"] = None  # nobody has asked for that here
    config = Config(**values, are_roots_given="logdir_roots" in values)
    config.check()
    return config


def _from_file(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            table = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"--config {path}: {error.strerror}") from None
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
