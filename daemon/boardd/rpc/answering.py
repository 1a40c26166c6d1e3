"""What every call has in common: how its errors are answered, versions, timeouts."""

from __future__ import annotations

import contextlib
import logging
import math
import traceback
from collections.abc import AsyncIterator

import grpc
import grpc.aio
from boardd_protos import MAX_PROTOCOL_VERSION, MIN_PROTOCOL_VERSION, __version__
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import FrameError
from boardd_protos.limits import MAX_TIMEOUT_SECS
from boardd_protos.printable import printable
from boardd_protos.reasons import REASON_METADATA

from boardd.core.errors import (
    ProtocolError,
    RequestError,
    VersionError,
    reason_name,
    status_name,
)

_logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def answering(context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
    """Answers a call with the status of the error it ends with."""
    try:
        yield
    except (ProtocolError, FrameError) as error:
        _logger.info("call refused: %s", error)
        # gRPC keeps what it aborts with for as long as the call's context, which frames name.
        traceback.clear_frames(error.__traceback__)
        await context.abort(
            grpc.StatusCode[status_name(error)],
            printable(str(error)),
            ((REASON_METADATA, reason_name(error)),),
        )
    except grpc.aio.BaseError:
        raise  # the call is over already
    except Exception as error:
        _logger.exception("call failed")
        await context.abort(grpc.StatusCode.INTERNAL, f"defect of the daemon: {error!r}")


def agreed_version(request: pb.OpenRequest) -> int:
    """The highest protocol version in common. Raises ``VersionError`` if there is none."""
    lowest, highest = request.min_protocol_version, request.max_protocol_version
    agreed = min(highest, MAX_PROTOCOL_VERSION)
    if agreed >= max(lowest, MIN_PROTOCOL_VERSION):
        return agreed
    older = "client" if highest < MIN_PROTOCOL_VERSION else "daemon"
    raise VersionError(
        f"the client (boardd {request.client_version or 'of unknown version'}) speaks protocol "
        f"{lowest} to {highest}, the daemon (boardd {__version__}) {MIN_PROTOCOL_VERSION} to "
        f"{MAX_PROTOCOL_VERSION}; upgrade the {older}"
    )


def checked_timeout(timeout_secs: float) -> float:
    """``timeout_secs``, which may be infinite: ``MAX_TIMEOUT_SECS`` at most.

    Raises ``RequestError`` if it is below 0 or NaN.
    """
    if math.isnan(timeout_secs) or timeout_secs < 0:
        raise RequestError(f"timeout_secs {timeout_secs} must be at least 0")
    return min(timeout_secs, MAX_TIMEOUT_SECS)
