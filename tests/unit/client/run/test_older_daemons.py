"""What a daemon of 0.1.0 would misread is logged in a way that it understands, or told."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from boardd_client.environment import Settings
from boardd_client.transport.senders import senders
from boardd_protos.address import parse
from boardd_protos.frame import FrameKind, decode
from support.scripted_daemon import ScriptedDaemon
from support.scripted_writer import writer

pytestmark = pytest.mark.usefixtures("no_autostart")


@pytest.fixture
def older() -> Iterator[ScriptedDaemon]:
    daemon = ScriptedDaemon()
    daemon.revision = 0
    with daemon:
        yield daemon


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in caplog.messages if "keep_tags" in message]


def test_a_scalar_tensor_is_a_plain_one_also_before_the_daemon_has_answered(
    older: ScriptedDaemon,
) -> None:
    older.acknowledges = False
    with writer(older) as sw:
        sw.add_scalar_tensor("loss", 0.1, 7, double_precision=True)
        # In memory that is shared the daemon would read this itself.
        sender = senders.acquire(parse(older.address), Settings.from_environ(os.environ))
        view, _ = sender.session.ring.read(0, 1, 1 << 20)
        senders.release(sender)
        (frame,) = decode(bytes(view))
        assert (frame.kind, frame.step, frame.value) == (FrameKind.SCALAR, 7, 0.1)
        older.acknowledges = True
        sw.add_scalar("end", 1.0, 8)
        assert sw.flush(timeout=60)
    assert older.values() == [0.1, 1.0]


def test_a_tag_that_is_shown_otherwise_is_told_once(
    older: ScriptedDaemon, caplog: pytest.LogCaptureFixture
) -> None:
    with writer(older) as sw:  # which cleans its tags itself
        sw.add_scalar("acc (a)", 1.0, 0)
        assert sw.flush(timeout=60)
    assert told(caplog) == []
    with writer(older, run="kept", keep_tags=True) as sw:
        for tag in ("acc", "acc (a)", "acc [a]"):
            sw.add_scalar(tag, 1.0, 0)
        assert sw.flush(timeout=60)
    assert told(caplog) == [
        "boardd: the daemon is of a version that does not know keep_tags: it writes the tag "
        "'acc (a)' as 'acc__a_', and others that become the same to one series; upgrade it"
    ]
