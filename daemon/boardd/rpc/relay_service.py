"""The aggregator's end of the gRPC relay: batches come in, positions go out."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

import grpc
import grpc.aio
from boardd_protos import relay_pb2 as pb
from boardd_protos.relay_pb2_grpc import RelayServicer

from boardd.core.errors import RequestError
from boardd.core.intake.messages import WHOLE_BYTES, parse
from boardd.relay.relay import (
    CHUNK_BYTES,
    MAX_BATCH_BYTES,
    PRODUCER_BYTES,
    Batch,
    NotTakenError,
    RelayError,
    Take,
    longest_secs,
)

#: Of batches that are being received or written, all producers together.
MAX_HELD_BYTES: Final = 2 * MAX_BATCH_BYTES
#: Of a message, which has one chunk of a batch.
MAX_REQUEST_BYTES: Final = CHUNK_BYTES + WHOLE_BYTES


class RelayService(RelayServicer):
    """Hands batches to ``take``, at most ``MAX_HELD_BYTES`` at once."""

    def __init__(self, take: Take) -> None:
        self._take = take
        self._held_bytes = 0

    async def Send(self, request_iterator: object, context: grpc.aio.ServicerContext) -> Any:
        """Takes one batch, whose messages come as bytes."""
        received = 0
        try:
            header: pb.BatchHeader | None = None
            chunks: list[bytes] = []
            begun = time.monotonic()
            # The next message may be as slow as the sender lets it be.
            while isinstance(
                message := await _read(context, begun + longest_secs(received + CHUNK_BYTES)),
                bytes,
            ):
                request = _parsed(message)
                header = header or request.header
                received += len(request.data)
                self._held_bytes += len(request.data)
                if received > MAX_BATCH_BYTES:
                    raise NotTakenError(f"a batch of more than {MAX_BATCH_BYTES} bytes")
                if self._held_bytes > MAX_HELD_BYTES:
                    text = "too much is being taken at once; try again later"
                    await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, text)
                chunks.append(request.data)
            if header is None or len(header.producer) != PRODUCER_BYTES:
                raise NotTakenError(
                    f"a batch begins with a header, with a producer of {PRODUCER_BYTES} bytes"
                )
            # On a thread: a copy of tens of megabytes takes its time, and lets others work.
            data = await asyncio.to_thread(b"".join, chunks)
            chunks.clear()
            batch = Batch(
                header.producer, header.run, header.first, header.end, header.oldest, data
            )
            return pb.SendReply(position=await self._take(batch))
        except NotTakenError as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        except asyncio.TimeoutError:
            text = "a batch that is not whole after the time that its sender has; send it again"
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, text)
        except RelayError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        finally:
            self._held_bytes -= received


def _parsed(message: bytes) -> pb.SendRequest:
    try:
        return parse(pb.SendRequest, message, MAX_REQUEST_BYTES)
    except RequestError as error:
        raise NotTakenError(str(error)) from None


async def _read(context: grpc.aio.ServicerContext, end: float) -> Any:
    return await asyncio.wait_for(context.read(), max(0.0, end - time.monotonic()))
