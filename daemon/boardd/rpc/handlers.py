"""How calls reach the services: as bytes, so that no request is parsed in one long go.

In place of what gRPC generates, whose handlers parse a message of any size on the event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from boardd_protos import boardd_pb2 as pb
from boardd_protos import relay_pb2
from google.protobuf.message import Message

from boardd.core.intake.messages import parse
from boardd.rpc.answering import answering
from boardd.rpc.relay_service import RelayService
from boardd.rpc.service import Service

SERVICE_NAME: Final = pb.DESCRIPTOR.services_by_name["Boardd"].full_name
RELAY_NAME: Final = relay_pb2.DESCRIPTOR.services_by_name["Relay"].full_name

_Request = TypeVar("_Request", bound=Message)


def add_service(service: Service, server: grpc.aio.Server) -> None:
    """Serves ``service`` on ``server``."""
    handlers = {
        "Open": _unary(service.Open, pb.OpenRequest),
        "Flush": _unary(service.Flush, pb.FlushRequest),
        "Close": _unary(service.Close, pb.CloseRequest),
        "Status": _unary(service.Status, pb.StatusRequest),
        "Stream": grpc.stream_stream_rpc_method_handler(service.Stream, None, _serialized),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, handlers),))


def add_relay(service: RelayService, server: grpc.aio.Server) -> None:
    """Serves ``service`` on ``server``."""
    handlers = {"Send": grpc.stream_unary_rpc_method_handler(service.Send, None, _serialized)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(RELAY_NAME, handlers),))


def _unary(
    call: Callable[[_Request, grpc.aio.ServicerContext], Awaitable[Message]],
    kind: type[_Request],
) -> Any:
    async def parsed(data: bytes, context: grpc.aio.ServicerContext) -> Message:
        async with answering(context):
            request = parse(kind, data)
        return await call(request, context)

    return grpc.unary_unary_rpc_method_handler(parsed, None, _serialized)


def _serialized(message: Message) -> bytes:
    return bytes(message.SerializeToString())
