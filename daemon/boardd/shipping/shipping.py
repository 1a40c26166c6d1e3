"""All stores that a daemon ships to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from boardd.runs.directories.spool import Spool, StoreReport
from boardd.shipping.shipper import StoreShipper
from boardd.shipping.store import FsspecStore, Store, obstacle

_logger = logging.getLogger(__name__)

#: How long a daemon that is not used stays for a store that cannot be reached.
MAX_STAY_SECS: Final = 86_400.0


class Shipping:
    """Ships what is closed in ``spool``; may be used by any thread.

    ``path``, ``limit_bytes`` and ``ship_secs`` are those of ``Spool``. ``open_store`` opens the
    store of a URL, ``scheme://store``.
    """

    def __init__(
        self,
        path: Path,
        limit_bytes: int,
        ship_secs: float,
        open_store: Callable[[str], Store] = FsspecStore,
    ) -> None:
        self.spool = spool = Spool(path, limit_bytes, ship_secs, obstacle)
        self._open_store = open_store
        self._lock = threading.Lock()
        self._shippers: dict[Path, StoreShipper] = {}
        spool.on_closed = self._wake
        spool.reports = self.reports

    def resume(self) -> None:
        """Goes on with what an earlier daemon has left in the spool, if there is one.

        The spool is left to others then, until a run is opened in it.
        """
        if not self.spool.path.is_dir():
            return
        try:
            self.spool.take()
            self._give_back()
        except OSError as error:
            _logger.info("%s is left to others: %s", self.spool.path, error)

    def reports(self) -> list[StoreReport]:
        """How each store is getting on."""
        with self._lock:
            shippers = list(self._shippers.values())
        return [shipper.report() for shipper in shippers]

    def must_stay(self, idle_secs: float) -> bool:
        """Whether a daemon that was not used for so long is to go on for what it has to ship."""
        with self._lock:
            shippers = list(self._shippers.values())
        return idle_secs < MAX_STAY_SECS and any(one.has_pending for one in shippers)

    def drain(self, timeout_secs: float) -> bool:
        """Tries once to ship all there is, for so long at most. Returns whether it is shipped."""
        deadline = time.monotonic() + timeout_secs
        with self._lock:
            shippers = list(self._shippers.values())
        for shipper in shippers:
            shipper.wake(hurries=True)
        are_over = [shipper.wait(deadline) for shipper in shippers]
        return all(are_over) and not any(shipper.has_pending for shipper in shippers)

    def _wake(self, path: Path) -> None:
        store = self.spool.store_of(path)
        with self._lock:
            shipper = self._shippers.get(store)
            if shipper is None:
                url = self.spool.url_of(store)
                shipper = self._shippers[store] = StoreShipper(
                    self.spool, store, lambda: self._open_store(url), on_rest=self._give_back
                )
        try:
            shipper.wake(path)
        except RuntimeError as error:  # no thread to spare, and asked again by the next file
            _logger.warning("%s waits: %s", shipper.url, error)

    def _give_back(self) -> None:
        """Leaves the spool to others once what an earlier daemon left in it is shipped."""
        with self._lock:
            if all(shipper.is_at_rest for shipper in self._shippers.values()):
                self.spool.release_unused()
