"""Whose part of a budget a call takes: that of a host over TCP, or of this one."""

from __future__ import annotations

from typing import Final

import grpc.aio

from boardd.rpc.tcp_connections import peer_of

#: Whoever comes over the Unix socket: this user, or root.
LOCAL: Final = ""
_UNIX: Final = "unix:"


def peer_host(context: grpc.aio.ServicerContext) -> str:
    """The address of the peer's host, without its port; ``LOCAL`` over the Unix socket."""
    text: str = context.peer()
    if text.startswith(_UNIX):
        return LOCAL
    peer = peer_of(text)
    return text if peer is None else peer.host
