"""What peers name is one line of the log, and moves no cursor."""

from __future__ import annotations

import logging
import sys

import pytest
from boardd.host.log_lines import JournalFormatter, LineFormatter

FORGED = "train.py\n2026-01-01 00:00:00,000 ERROR forged\r\x1b[2J\u2028\udc80"


def record(message: str, *, error: bool = False) -> logging.LogRecord:
    info = None
    if error:
        try:
            raise ValueError("defect")
        except ValueError:
            info = sys.exc_info()
    return logging.LogRecord("boardd", logging.WARNING, "", 0, "%s left", (message,), info)


@pytest.mark.parametrize(
    "formatter", [LineFormatter("%(message)s"), JournalFormatter("%(message)s")]
)
def test_a_name_forges_no_line(formatter: logging.Formatter) -> None:
    line = formatter.format(record(FORGED))
    assert line.isprintable()
    assert line.removeprefix("<4>") == (
        r"train.py\n2026-01-01 00:00:00,000 ERROR forged\r\x1b[2J\u2028\udc80 left"
    )
    assert formatter.format(record("größe")).removeprefix("<4>") == "größe left"


def test_a_traceback_keeps_its_lines() -> None:
    lines = JournalFormatter("%(message)s").format(record("x", error=True)).split("\n")
    assert len(lines) > 2
    assert all(line.startswith("<4>") for line in lines)
