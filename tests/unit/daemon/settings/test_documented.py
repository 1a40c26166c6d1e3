"""``docs/configuration.md`` lists every setting of the daemon with its default and unit."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

from boardd.settings.config import OPTIONS, Config
from boardd.settings.option import (
    COUNT,
    LEVEL,
    LISTEN,
    LOG_FORMAT,
    MEMORY,
    MESSAGE_SIZE,
    NICE,
    PATH,
    POSITIVE_SECONDS,
    ROOT,
    SECONDS,
    SIZE,
    SOCKET,
    SPOOL_SIZE,
    SYNC,
    TRUTH,
    Option,
)

DOCUMENT = Path(__file__).parents[4] / "docs" / "configuration.md"

UNITS = {
    PATH: "path",
    ROOT: "directory or URL",
    SOCKET: "path",
    LISTEN: "host and port",
    SECONDS: "seconds",
    POSITIVE_SECONDS: "seconds",
    SYNC: "a word or seconds",
    SIZE: "bytes, or with a unit",
    SPOOL_SIZE: "bytes, or with a unit",
    MESSAGE_SIZE: "bytes, or with a unit",
    MEMORY: "bytes, or with a unit, or a share in %",
    COUNT: "number",
    NICE: "number",
    TRUTH: "true or false",
    LEVEL: "word",
    LOG_FORMAT: "word",
}


def row(option: Option) -> str:
    default = {item.name: item for item in dataclasses.fields(Config)}[option.field].default
    name = f"`{option.name}`" if option.in_file else f"`{option.name}` (no key of a file)"
    unit = UNITS[option.kind]
    return f"| {name} | {option.help} | {unit} | {option.shown_default(default)} |"


def tables() -> str:
    """What the document says, made from the settings themselves."""
    parts = []
    for group, options in itertools.groupby(OPTIONS, lambda option: option.group):
        title = group.partition(" (")[0]
        head = "| Setting | Meaning | Unit | Default |\n|---|---|---|---|"
        rows = "\n".join(row(option) for option in options)
        parts.append(f"### {title[0].upper()}{title[1:]}\n\n{head}\n{rows}\n")
    return "\n".join(parts)


def test_every_setting_is_documented_as_it_is() -> None:
    text = DOCUMENT.read_text()
    assert tables() in text, f"put this into {DOCUMENT}:\n{tables()}"


def test_what_the_tables_say_can_be_read_in_a_table() -> None:
    assert not any("|" in option.help or "\n" in option.help for option in OPTIONS)
