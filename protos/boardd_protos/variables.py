"""The environment variables of boardd, and what a name that is none of them may mean."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

PREFIX: Final = "BOARDD_"

#: Of the client and of the daemon, without ``PREFIX``.
_NAMES: Final = (
    *("ADDRESS", "AUTOSTART", "COMMAND", "SHARED_MEMORY", "EPOCH", "REDUCE", "PER_RANK"),
    *("RANK", "WORLD_SIZE", "LAUNCH", "TOKEN", "TOKEN_FILE", "TLS_CA"),
    *("SYSTEM_METRICS", "PROVENANCE"),
    *("TLS_CLIENT_CERT", "TLS_CLIENT_KEY", "LOG_BYTES", "ARENA_BYTES", "LARGE_TENSOR_BYTES"),
    *("SCALAR_HISTORY_BYTES", "BLOCK_TIMEOUT_SECS", "EXIT_TIMEOUT_SECS"),
    *("AUTOSTARTED", "CONFIG", "DRAIN_SECS", "FORWARD_CA", "FORWARD_CERT", "FORWARD_KEY"),
    *("FORWARD_TO", "FORWARD_TOKEN_FILE", "HOST_SECS", "IDLE_EXIT", "INTAKE_BYTES", "JOIN_SECS"),
    *("LAG_POINTS", "LAG_SECS", "LEASE_SECS", "LISTEN", "LOGDIR_ROOT", "LOG_LEVEL"),
    *("LOG_FORMAT", "METRICS"),
    *("MAX_DEFINITION_BYTES", "MAX_FORWARD_BYTES", "MAX_MAP_BYTES", "MAX_MESSAGE_BYTES"),
    *("MAX_OPEN_BYTES", "MAX_RUNS", "MAX_SERIES_PER_RUN", "MAX_SERIES_PER_SESSION"),
    *("MAX_SESSIONS", "MAX_TENSOR_BYTES", "MEMORY_BYTES", "NICE", "REDUCTION_BYTES"),
    *("SESSION_INTAKE_BYTES", "SOCKET", "STALL_SECS", "SYNC", "THREADS", "TLS_CERT"),
    *("SHIP_SECS", "SPOOL_BYTES", "SPOOL_DIR", "TLS_CLIENT_CA", "TLS_KEY", "WRITERS"),
)
VARIABLES: Final = frozenset(PREFIX + name for name in _NAMES)
#: Those whose values are never shown.
SECRETS: Final = frozenset({PREFIX + "TOKEN"})


def misspelt(names: Iterable[str]) -> dict[str, str]:
    """From each of ``names`` that looks like a variable of boardd's and is none to one it may be.

    A name that is like none of them may be another program's, and is left out.
    """
    found = {}
    for name in names:
        if name.startswith(PREFIX) and name not in VARIABLES:
            from difflib import get_close_matches

            meant = get_close_matches(name.removeprefix(PREFIX), _NAMES, n=1, cutoff=0.7)
            if meant:
                found[name] = PREFIX + meant[0]
    return found
