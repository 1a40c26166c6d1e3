"""Log lines on standard error, as a terminal, systemd's journal and programs want them.

What peers wrote may be in any of them. So a message is one line whatever is in it, what
follows it, such as a traceback, is indented, and a peer can have few lines of one kind
written, however often it errs.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Final

from boardd_protos.printable import printable

#: syslog's severities, which the journal reads from a prefix such as ``<6>`` (sd-daemon(3)).
_SEVERITIES: Final = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


#: Lines of one kind that are written at once, and how many more each second.
MAX_BURST: Final = 50
LINES_PER_SEC: Final = 1.0
#: Kinds whose lines are counted; past that all are forgotten.
_MAX_KINDS: Final = 1024


class RateLimit(logging.Filter):
    """Leaves out lines of a kind, a message before its arguments, that come too often.

    The next line that is written says how many were left out. ``clock`` gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        #: By kind: how many lines may be written, as of when, and how many were left out.
        self._kinds: dict[tuple[str, str], tuple[float, float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Returns whether ``record`` is to be written."""
        kind, now = (record.name, str(record.msg)), self._clock()
        allowed, since, left_out = self._kinds.get(kind, (float(MAX_BURST), now, 0))
        allowed = min(MAX_BURST, allowed + (now - since) * LINES_PER_SEC)
        if len(self._kinds) >= _MAX_KINDS and kind not in self._kinds:
            self._kinds.clear()
        if allowed < 1:
            self._kinds[kind] = allowed, now, left_out + 1
            return False
        self._kinds[kind] = allowed - 1, now, 0
        if left_out:
            record.msg = f"{record.getMessage()} ({left_out:,} lines like it were left out)"
            record.args = ()
        return True


class LineFormatter(logging.Formatter):
    """Makes one line of a message; see the module."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Returns the first line of ``record``."""
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        """Returns a traceback, each line of it indented."""
        lines = super().formatException(ei).splitlines()
        return "\n".join("    " + printable(line) for line in lines)


class JournalFormatter(LineFormatter):
    """Puts the severity before each line; the journal adds the time."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the lines of ``record``, each with its prefix."""
        prefix = f"<{_SEVERITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


class JsonFormatter(LineFormatter):
    """Makes an object of a message, in one line: time, level, logger, message, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the object, its time as RFC 3339 has it, in UTC."""
        when = datetime.fromtimestamp(record.created, timezone.utc)
        fields = {
            "time": when.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": printable(record.getMessage()),
        }
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def configure(level: str, log_format: str, environ: Mapping[str, str]) -> None:
    """Logs lines of ``level`` and above to standard error.

    ``log_format`` is ``text``, ``json``, or ``auto``, which depends on where the lines go.
    """
    handler = logging.StreamHandler()
    handler.addFilter(RateLimit())
    handler.setFormatter(_formatter(log_format, environ))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # If the terminal is closed under the daemon, logging must not report that to it.
    logging.raiseExceptions = False
    for chatty in ("asyncio", "numba", "grpc"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))


def are_for_programs() -> bool:
    """Whether ``configure`` chose lines that programs read: JSON, or the journal's."""
    return any(
        isinstance(handler.formatter, (JsonFormatter, JournalFormatter))
        for handler in logging.getLogger().handlers
    )


def _formatter(log_format: str, environ: Mapping[str, str]) -> logging.Formatter:
    if log_format == "auto":
        if _is_journal(environ):
            return JournalFormatter("%(message)s")
        log_format = "text" if _is_terminal() else "json"
    if log_format == "json":
        return JsonFormatter()
    return LineFormatter("%(asctime)s %(levelname)s %(message)s")


def _is_terminal() -> bool:
    try:
        return os.isatty(2)
    except OSError:
        return False


def _is_journal(environ: Mapping[str, str]) -> bool:
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
