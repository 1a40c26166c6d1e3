"""The settings that count and where each comes from, as text for people and as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from boardd_protos import address
from boardd_protos.printable import printable
from boardd_protos.variables import SECRETS, VARIABLES

from boardd.core.sync_policy import SyncPolicy
from boardd.settings.config import OPTIONS
from boardd.settings.option import Option
from boardd.settings.sources import Origin, Settings, Source

_DEFAULT: Final = Origin(Source.DEFAULT)


def render(settings: Settings, environ: Mapping[str, str]) -> str:
    """Returns ``settings`` and the clients' variables as lines, without a closing newline."""
    if settings.file is not None:
        head = f"settings file: {settings.file}"
    elif settings.default_file is not None:
        head = f"settings file: none, {settings.default_file} does not exist"
    else:
        head = "settings file: none"
    rows = [
        (option.name, _text(option, _value(settings, option)), _origin_text(settings, option))
        for option in OPTIONS
    ]
    lines = [head, "", *_columns([("setting", "value", "from"), *rows])]
    of_clients = client_variables(environ)
    if of_clients:
        lines += ["", "for clients with this environment:", *_columns(list(of_clients.items()))]
    return "\n".join(map(printable, lines))


def to_json(settings: Settings, environ: Mapping[str, str]) -> str:
    """Returns the same as JSON.

    ``file`` is the path that was read or null, ``default_file`` the one that is read if no other
    is named. ``settings`` has by name the ``value`` (sizes in bytes, times in seconds, no value:
    null), ``source`` (flag, variable, file or default) and ``from``, the name of that source.
    ``client_variables`` has what is set of the clients' variables.
    """
    table = {}
    for option in OPTIONS:
        origin = settings.origins.get(option.field, _DEFAULT)
        table[option.name] = {
            "value": _plain(_value(settings, option)),
            "source": origin.source.value,
            "from": origin.name,
        }
    return json.dumps(
        {
            "file": _plain(settings.file),
            "default_file": _plain(settings.default_file),
            "settings": table,
            "client_variables": client_variables(environ),
        },
        indent=2,
        ensure_ascii=False,
    )


def client_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """What is set of the variables that only clients and commands read; of secrets only that."""
    of_daemon = {option.variable for option in OPTIONS}
    return {
        name: "(set)" if name in SECRETS else environ[name]
        for name in sorted(VARIABLES - of_daemon)
        if environ.get(name)
    }


def _value(settings: Settings, option: Option) -> Any:
    return getattr(settings.config, option.field)


def _origin_text(settings: Settings, option: Option) -> str:
    origin = settings.origins.get(option.field, _DEFAULT)
    return origin.name or origin.source.value


def _text(option: Option, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    plain = _plain(value)
    if isinstance(plain, bool):
        return "yes" if plain else "no"
    return plain if isinstance(plain, str) else option.kind.show(value)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, SyncPolicy):
        return value.text
    if isinstance(value, (Path, address.TcpAddress)):
        return str(value)
    return value


def _columns(rows: list[tuple[str, ...]]) -> list[str]:
    *widths, _ = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [*(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)), row[-1]]
        )
        for row in rows
    ]
