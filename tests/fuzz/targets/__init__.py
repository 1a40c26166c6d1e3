"""One function for each reader of bytes that others wrote; it raises for a defect alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from fuzz.targets import files, frames, maps, messages, payloads, settings

#: A folder of seeds for each target.
CORPUS: Final = Path(__file__).parents[1] / "corpus"

TARGETS: Final[dict[str, Callable[[bytes], None]]] = {
    "message": frames.message,
    "ring": frames.ring,
    "parked": frames.parked,
    "client_messages": messages.messages,
    "handover": maps.handover,
    "log": maps.log,
    "payload": payloads.payload,
    "changing_map": payloads.changing,
    "partial": payloads.partial,
    "event_file": files.event_file,
    "merged": files.merged,
    "journal": files.journal,
    "relayed": files.relayed,
    "config": settings.config,
}
