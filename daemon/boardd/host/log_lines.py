"""Log lines on standard error, as a terminal and as systemd's journal want them."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Final

#: syslog's severities, which the journal reads from a prefix such as ``<6>`` (sd-daemon(3)).
_SEVERITIES: Final = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}


class LineFormatter(logging.Formatter):
    """Makes one line of each message, whatever peers have put into it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Returns the message of ``record`` as one line; a traceback comes behind it."""
        return _one_line(super().formatMessage(record))


class JournalFormatter(LineFormatter):
    """Puts the severity before each line; the journal adds the time."""

    def format(self, record: logging.LogRecord) -> str:
        """Returns the lines of ``record``, each with its prefix."""
        prefix = f"<{_SEVERITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


def configure(level: str, environ: Mapping[str, str]) -> None:
    """Logs lines of ``level`` and above to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JournalFormatter("%(message)s")
        if _is_journal(environ)
        else LineFormatter("%(asctime)s %(levelname)s %(message)s")
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # If the terminal is closed under the daemon, logging must not report that to it.
    logging.raiseExceptions = False
    for chatty in ("asyncio", "numba", "grpc"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))


def _one_line(text: str) -> str:
    """``text`` with escapes for what would end the line or move a terminal's cursor."""
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )


def _is_journal(environ: Mapping[str, str]) -> bool:
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
