"""No event file's name makes another program load it."""

from __future__ import annotations

import subprocess

import pytest
from boardd.core.refusals import RefusedError
from boardd.core.runs import names
from boardd_client.calls import arguments
from boardd_protos.suffixes import LOADED_TYPES, suffix_obstacle
from support.tools import require_program


@pytest.mark.parametrize(
    "suffix",
    [
        "",
        ".v2",
        ".mine",
        "_run-1",
        ".lr=0.1,b=2",
        ".größe",
        ".0",
        "service",
        "_sh",
        ".service_",
        ".",
    ],
)
def test_what_users_write_is_taken(suffix: str) -> None:
    assert suffix_obstacle(suffix) == ""
    assert arguments.filename_suffix(suffix) == names.check_suffix(suffix) == suffix


@pytest.mark.parametrize(
    "suffix",
    [
        *(f".{name}" for name in sorted(LOADED_TYPES)),
        *(
            ".v2.service",
            ".SERVICE",
            ".Sh",
            ".sh ",
            "a/b",
            "a\0b",
            "new\nline",
            "\x1b[31m",
            "\u202e",
        ),
        *("\udc80", ".conf\u200b", "x" * 65),
    ],
)
def test_what_would_be_loaded_or_cannot_be_shown_is_refused_at_both_ends(suffix: str) -> None:
    with pytest.raises(ValueError, match="filename_suffix"):
        arguments.filename_suffix(suffix)
    with pytest.raises(RefusedError, match="filename_suffix"):
        names.check_suffix(suffix)


def test_all_types_of_units_are_known() -> None:
    require_program("systemctl")
    shown = subprocess.run(
        ["systemctl", "--type=help"], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    types = {name for name in shown if name.islower()} - {"unit", "types:"}
    assert types
    assert types <= LOADED_TYPES
