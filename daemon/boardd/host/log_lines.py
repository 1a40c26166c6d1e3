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


class JournalFormatter(logging.Formatter):
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
        else logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # If the terminal is closed under the daemon, logging must not report that to it.
    logging.raiseExceptions = False
    for chatty in ("asyncio", "numba", "grpc"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, logging.getLogger().level))


def _is_journal(environ: Mapping[str, str]) -> bool:
    try:
        status = os.fstat(2)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
