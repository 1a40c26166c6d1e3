"""Names of reasons, and the metadata of gRPC calls."""

from __future__ import annotations

from typing import Final

from boardd_protos import boardd_pb2 as pb

#: Key of the trailing metadata of a refused call; its value is the name of a ``Reason``.
REASON_METADATA: Final = "boardd-reason"
#: Key of the metadata that carries ``Bearer <token>``.
AUTHORIZATION: Final = "authorization"


def reason_name(reason: int) -> str:
    """Returns the name of a ``Reason``; ``REASON_57`` for number 57 of a newer peer."""
    value = pb.Reason.DESCRIPTOR.values_by_number.get(reason)
    return str(value.name) if value is not None else f"REASON_{reason}"
