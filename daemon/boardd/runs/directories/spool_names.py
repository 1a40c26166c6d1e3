"""Which URLs can be those of runs, as far as their text says. Pure."""

from __future__ import annotations

from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos import remote_logdir

from boardd.core.refusals import RefusedError

#: What of a directory is shipped is noted in this file of it.
LEDGER_NAME: Final = ".boardd-shipped"
#: Under which it is written before.
PARTIAL_LEDGER_NAME: Final = f"{LEDGER_NAME}.partial"
#: No run is called so.
RESERVED_NAMES: Final = frozenset({LEDGER_NAME, PARTIAL_LEDGER_NAME})
#: Of an object: the limit of S3 and of those that speak as it does.
MAX_KEY_BYTES: Final = 1024
#: Of the directory in it: the rest is for the name of an event file.
_MAX_DIRECTORY_KEY_BYTES: Final = MAX_KEY_BYTES - 256


def check_url(url: str) -> None:
    """Raises ``RefusedError``, INVALID_NAME, for what cannot be the URL of a run."""
    try:
        remote_logdir.checked(url)
    except ValueError as error:
        raise RefusedError(pb.INVALID_NAME, str(error)) from error
    names = url.split("/")
    if not RESERVED_NAMES.isdisjoint(names):
        raise RefusedError(
            pb.INVALID_NAME,
            f"logdir {url!r}: the daemon keeps {LEDGER_NAME!r} for itself; use another name",
        )
    key_bytes = len("/".join(names[3:]).encode(errors="surrogateescape"))
    if key_bytes > _MAX_DIRECTORY_KEY_BYTES:
        raise RefusedError(
            pb.INVALID_NAME,
            f"logdir {url[:80]!r}...: its path has {key_bytes} bytes, and "
            f"{_MAX_DIRECTORY_KEY_BYTES} are taken: an object's key has {MAX_KEY_BYTES} at most",
        )
