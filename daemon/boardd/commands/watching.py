"""Looking at a daemon again and again, which may come and go meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator

from boardd_protos import boardd_pb2 as pb

from boardd.commands.control import fetch_status
from boardd.commands.flags import Access
from boardd.errors import NoDaemonError


def statuses(
    access: Access, interval_secs: float, timeout_secs: float
) -> Iterator[pb.StatusReply | NoDaemonError]:
    """Yields the daemon's status every ``interval_secs``, or why there is none at that moment.

    Raises what ``fetch_status`` does: the first time always, later if it was refused.
    """
    yield _fetched(access, timeout_secs)
    while True:
        time.sleep(interval_secs)
        try:
            status: pb.StatusReply | NoDaemonError = _fetched(access, timeout_secs)
        except NoDaemonError as error:  # it is restarted
            status = error
        yield status


def _fetched(access: Access, timeout_secs: float) -> pb.StatusReply:
    return fetch_status(access.where, token=access.token, tls=access.tls, timeout_secs=timeout_secs)
