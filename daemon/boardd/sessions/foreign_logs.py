"""Logs of dead clients all of whose runs lie where this daemon does not write.

To adopt such a log is to lose it: its records would be rejected. One with other roots writes it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection
from typing import Final

from boardd_protos import boardd_pb2 as pb

from boardd.core.errors import RequestError
from boardd.core.intake.messages import pieces
from boardd.core.refusals import RefusedError
from boardd.runs.directories.logdir import Roots
from boardd.runs.writing.turn import Turn
from boardd.sessions.client_log import ClientLog
from boardd.sessions.ring_reader import MAX_DEFINITION_BYTES

#: Seconds that a disk may take to say where paths lead; else they count as this daemon's.
_PATIENCE_SECS: Final = 0.5


async def is_foreign(log: ClientLog, roots: Roots) -> bool:
    """Whether ``log`` defines runs, and all of them lie outside ``roots``."""
    outside: set[str] = set()
    at = 0
    while True:
        try:
            entries, end = log.definitions(at, MAX_DEFINITION_BYTES)
        except RequestError:
            return False
        if end == at:
            return bool(outside)
        new = await _logdirs(entries) - outside
        if new:
            looking = asyncio.to_thread(_are_outside, new, roots)
            try:
                if not await asyncio.wait_for(looking, _PATIENCE_SECS):
                    return False
            except asyncio.TimeoutError:
                return False
        outside |= new
        at = end
        await asyncio.sleep(0)  # others' turn


async def _logdirs(entries: Collection[bytes]) -> set[str]:
    found: set[str] = set()
    turn = Turn()
    for entry in entries:
        with contextlib.suppress(RequestError):  # whoever adopts the log says so
            for piece in pieces(pb.Definitions, entry):
                found.update(run.logdir for run in piece.runs)
                await turn.pause()
    return found


def _are_outside(logdirs: Collection[str], roots: Roots) -> bool:
    for logdir in logdirs:
        try:
            roots.resolve(logdir)
        except RefusedError as error:
            if error.reason == pb.OUTSIDE_ROOTS:
                continue
        return False
    return True
