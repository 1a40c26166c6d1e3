"""No peer writes a line of the log by itself, nor as many as it likes."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable
from datetime import datetime

import pytest
from boardd.host.log_lines import (
    LINES_PER_SEC,
    MAX_BURST,
    JournalFormatter,
    JsonFormatter,
    LineFormatter,
    RateLimit,
)

FORGED = "a\n2026-01-01 INFO forged\r\x1b[2J\x9b2J\u2028b\ud800"


def logger_to(
    formatter: logging.Formatter, clock: Callable[[], float] = lambda: 0.0
) -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    handler.addFilter(RateLimit(clock))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    return logger, stream


@pytest.mark.parametrize(
    "formatter", [LineFormatter("%(message)s"), JournalFormatter("%(message)s")]
)
def test_a_message_is_one_line_whatever_is_in_it(formatter: logging.Formatter) -> None:
    logger, stream = logger_to(formatter)
    logger.warning("call refused: %s", FORGED)
    line = stream.getvalue()
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert "\\n2026-01-01 INFO forged" in line


def test_what_follows_a_message_is_indented() -> None:
    logger, stream = logger_to(LineFormatter("%(message)s"))
    try:
        raise ValueError(FORGED)
    except ValueError:
        logger.error("call failed", exc_info=sys.exc_info())
    first, *others = stream.getvalue().splitlines()
    assert first == "call failed"
    assert others
    assert all(line.startswith("    ") and line.isprintable() for line in others)


def test_a_line_of_json_has_all_of_a_message() -> None:
    logger, stream = logger_to(JsonFormatter())
    try:
        raise ValueError(FORGED)
    except ValueError:
        logger.error("call %s", FORGED, exc_info=sys.exc_info())
    (line,) = stream.getvalue().splitlines()
    found = json.loads(line)
    assert datetime.fromisoformat(found["time"]).tzinfo is not None
    assert (found["level"], found["logger"]) == ("error", "test")
    assert found["message"].startswith("call a\\n2026-01-01 INFO forged")
    assert found["message"].isprintable()
    assert "ValueError" in found["traceback"]


def test_lines_of_a_kind_are_bounded_and_what_is_left_out_is_counted() -> None:
    now = 0.0
    logger, stream = logger_to(LineFormatter("%(message)s"), lambda: now)
    for number in range(10 * MAX_BURST):
        logger.warning("refused: %s", number)
    logger.warning("another kind")
    assert len(stream.getvalue().splitlines()) == MAX_BURST + 1
    now = 1.0 / LINES_PER_SEC
    logger.warning("refused: %s", "at last")
    logger.warning("refused: %s", "too much")
    last = stream.getvalue().splitlines()[-1]
    assert last == f"refused: at last ({9 * MAX_BURST:,} lines like it were left out)"
