"""Refused calls are told seldom."""

from __future__ import annotations

import asyncio
import logging

import pytest
from boardd.core.errors import RequestError
from boardd.rpc import answering as module
from boardd.rpc.seldom import Seldom


class Context:
    """Takes the status of a call."""

    async def abort(self, *status: object) -> None:
        self.status = status


def test_any_number_of_refused_calls_writes_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = logging.getLogger("test")
    refused = Seldom(logger, "refused %d calls, the last: %s", level=logging.INFO)
    monkeypatch.setattr(module, "_refused", refused)

    async def story() -> None:
        for number in range(1000):
            context = Context()
            async with module.answering(context):
                raise RequestError(f"wrong in the way {number}")
            assert context.status[1] == f"wrong in the way {number}"

    with caplog.at_level(logging.INFO):
        asyncio.run(story())
    assert caplog.messages == ["refused 1 calls, the last: wrong in the way 0"]
