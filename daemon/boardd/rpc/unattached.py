"""Streams that have not said yet whose they are: few at once, and each for a short time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import grpc.aio

from boardd.core.errors import CapacityError, StalledError
from boardd.core.held import Held
from boardd.core.shares import Places
from boardd.rpc.peers import peer_host

#: How long a stream may take to say it, and how many may be that have not.
ATTACH_SECS: Final = 10.0
MAX_UNATTACHED: Final = 256


class Unattached:
    """The streams that have not brought their Attach; each may take ``attach_secs``."""

    def __init__(self, attach_secs: float) -> None:
        self._attach_secs = attach_secs
        self._places = Places(MAX_UNATTACHED)

    def held(self) -> Iterator[Held]:
        """How many there are."""
        yield Held("unattached-streams", len(self._places), MAX_UNATTACHED)

    async def first_message(self, context: grpc.aio.ServicerContext) -> object:
        """What a stream brings first.

        Raises ``CapacityError`` if too many streams, or too many of its host, have brought
        nothing yet, and ``StalledError`` if nothing comes in time.
        """
        host = peer_host(context)
        if not self._places.take(host):
            raise CapacityError(
                f"{len(self._places)} streams have brought no Attach, of at most {MAX_UNATTACHED} "
                "that hosts share; try later"
            )
        try:
            return await asyncio.wait_for(context.read(), self._attach_secs)
        except (TimeoutError, asyncio.TimeoutError):
            raise StalledError(f"no Attach came within {self._attach_secs:g} s") from None
        finally:
            self._places.give_back(host)
