"""What training libraries report, however they open and close their logger."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from boardd_client.hooks.report_writer import ReportWriter, of_one_process
from boardd_protos.frame import FrameKind
from support.scripted_daemon import ScriptedDaemon

pytestmark = pytest.mark.usefixtures("no_autostart")


def report_writer(scripted: ScriptedDaemon) -> ReportWriter:
    return ReportWriter("logs/run", address=scripted.address)


def scalar_steps(scripted: ScriptedDaemon) -> list[int]:
    return [frame.step for frame in scripted.all_frames if frame.kind == FrameKind.SCALAR]


def test_what_is_logged_after_close_opens_it_again(scripted: ScriptedDaemon) -> None:
    writer = report_writer(scripted)
    writer.log({"loss": 0.5}, 1)
    writer.close()
    writer.close()
    writer.log({"loss": 0.25}, 2)
    writer.log_hyperparameters({"rate": 0.1}, {"best": 0.25}, 3)
    writer.close()
    assert scalar_steps(scripted) == [1, 2, 3]
    assert writer.open() is writer.open()
    writer.close()


def test_what_cannot_be_logged_is_told_once_and_the_rest_is_logged(
    scripted: ScriptedDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    writer = report_writer(scripted)
    with caplog.at_level(logging.WARNING, "boardd_client"):
        for step in range(2):
            writer.log({"table": np.ones(3), "note": "text", "loss": np.float32(0.5)}, step)
            writer.log_hyperparameters(["rate"])
    writer.close()
    assert scalar_steps(scripted) == [0, 1]
    told = [text for text in caplog.messages if "cannot be logged" in text]
    assert [text.partition(" is reported")[0] for text in told] == [
        "boardd: table",
        "boardd: hyperparameters",
    ]


class Raising:
    """A value that no method can be asked of."""

    def __str__(self) -> str:
        raise KeyError("broken")

    __repr__ = __call__ = __float__ = __array__ = __str__


def test_nothing_that_is_reported_raises_and_only_the_bad_values_are_left_out(
    scripted: ScriptedDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    writer = report_writer(scripted)
    own: dict[str, Any] = {"rate": 0.1}
    own["own"] = own
    bad: dict[str, Any] = {"number": 10**400, "text": "\ud800", "value": Raising(), "dict": own}
    with caplog.at_level(logging.WARNING, "boardd_client"):
        for step in range(2):
            writer.log({**bad, "loss": 0.5}, step)
        writer.log_hyperparameters({**bad, "layers": 3}, {**bad, "best": 0.5}, 2)
        writer.log_hyperparameters(None, {**bad, "best": 0.5}, 3)
        writer.log_hyperparameters({"text": "x" * (1 << 20)}, {"best": 0.5}, 4)
    writer.close()
    assert scalar_steps(scripted) == [0, 1, 2, 3, 4]
    told = [text.partition(" is reported")[0] for text in caplog.messages if "reported" in text]
    assert told == [f"boardd: {name}" for name in (*bad, "dict/own", "hyperparameters")]


def test_one_process_of_several_is_alone_unless_it_says_otherwise() -> None:
    assert of_one_process({"sync": "flush"}) == {"sync": "flush", "world_size": 1}
    told = {"rank": 1, "world_size": 2}
    assert of_one_process(told) == told
