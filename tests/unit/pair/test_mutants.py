"""The search finds what it is there for: ends that break a rule on purpose."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from boardd.core.errors import ProtocolError
from boardd.core.intake.parked_frames import ParkedFrames
from boardd.core.intake.shared_ring import RingFrames, SharedRing
from boardd.core.session.batch import Batch
from boardd.core.session.rejections import Rejections
from boardd.core.session.session import Session as DaemonSession
from boardd.core.session.watermark import Watermark
from boardd_client.memory.definitions import KeptDefinitions
from boardd_client.memory.slots import TensorSlots
from boardd_client.session.parked import Parked
from boardd_client.session.rejected import RejectedRecords
from boardd_client.session.resending import Resending
from boardd_client.session.session import Session as ClientSession
from boardd_protos import boardd_pb2 as pb
from hypothesis import Phase, find, settings
from support.pair_actions import (
    HELD_UP,
    Connect,
    Cut,
    Deliver,
    Hear,
    History,
    KillClient,
    KillDaemon,
    LogScalar,
    ReadRing,
    Send,
    histories,
)
from support.pair_client import BAD_TAG
from support.pair_disk import Disk

Mutant = Callable[[pytest.MonkeyPatch], None]


def acknowledge_one_too_many(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Watermark, "written_sequence", property(lambda self: self._written_sequence + 1))


def free_what_was_sent(patch: pytest.MonkeyPatch) -> None:
    next_messages = ClientSession.next_messages

    def freeing(self: ClientSession, max_bytes: int, *, now: float) -> list[pb.ClientMessage]:
        messages = next_messages(self, max_bytes, now=now)
        self.ring.free(self.ring.readable())
        return messages

    patch.setattr(ClientSession, "next_messages", freeing)


def forget_what_was_received(patch: pytest.MonkeyPatch) -> None:
    detach = DaemonSession.detach

    def forgetting(self: DaemonSession) -> None:
        detach(self)
        self._progress.received_sequence = self.written_sequence

    patch.setattr(DaemonSession, "detach", forgetting)


def skip_the_salvage(patch: pytest.MonkeyPatch) -> None:
    def nothing(self: SharedRing, limit_bytes: int) -> RingFrames:
        return RingFrames([], self.sequence, self.position)

    patch.setattr(SharedRing, "salvage", nothing)


def drop_the_order(patch: pytest.MonkeyPatch) -> None:
    receive_walked = DaemonSession.receive_walked

    def reversing(self: DaemonSession, *args: object) -> Batch:
        batch = receive_walked(self, *args)
        batch.parts.reverse()
        return batch

    patch.setattr(DaemonSession, "receive_walked", reversing)


def keep_no_definitions(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(KeptDefinitions, "append", lambda self, definition: False)


def keep_slots(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TensorSlots, "free", lambda self, slots: None)


def read_no_marks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Disk, "_known", lambda self, part: 0)


def settle_what_is_held_up(patch: pytest.MonkeyPatch) -> None:
    settle = Parked.settle

    def settling(self: Parked, acknowledged: int, settled: int, held: dict[int, int]) -> None:
        settle(self, acknowledged, settled, {run: first + 1 for run, first in held.items()})

    patch.setattr(Parked, "settle", settling)


def send_nothing_parked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Resending, "_all", lambda self, message_bytes: iter(()))


def resend_what_is_settled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Parked, "let_go", lambda self: None)


def read_nothing_parked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ParkedFrames, "take", lambda self, limit_bytes: b"")


def tell_rejections_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Rejections, "tell_again", lambda self: None)


def count_rejections_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(RejectedRecords, "resume", lambda self, received: None)


@pytest.mark.parametrize(
    "mutant",
    [
        settle_what_is_held_up,
        send_nothing_parked,
        resend_what_is_settled,
        read_nothing_parked,
        tell_rejections_once,
        count_rejections_twice,
    ],
)
def test_a_broken_rule_of_held_up_runs_and_rejections_is_found(mutant: Mutant) -> None:
    endings = [
        [KillDaemon()],
        [KillDaemon(), KillClient()],
        [Cut(), Connect(), Send(), Deliver(9)],
        [LogScalar("b", BAD_TAG), Send(), Deliver(9), ReadRing(300), Hear(1), KillDaemon()],
        [LogScalar("b", BAD_TAG), Send(), Deliver(9), ReadRing(300), Cut()],
    ]
    broken = 0
    for ending in endings:
        for is_shareable in (False, True):
            history = History([*HELD_UP, *ending], is_shareable=is_shareable, can_watch=True)
            history.run()
            with pytest.MonkeyPatch.context() as patch:
                mutant(patch)
                try:
                    history.run()
                except (AssertionError, ValueError, ProtocolError):
                    broken += 1
    assert broken


@pytest.mark.parametrize(
    ("mutant", "most_actions"),
    [
        (acknowledge_one_too_many, 4),
        (free_what_was_sent, 4),
        (forget_what_was_received, 6),
        (skip_the_salvage, 4),
        (drop_the_order, 4),
        (keep_no_definitions, 3),
        (keep_slots, 3),
        (read_no_marks, 6),
    ],
)
def test_a_broken_rule_is_found(mutant: Mutant, most_actions: int) -> None:
    def breaks(history: History) -> bool:
        with pytest.MonkeyPatch.context() as patch:
            mutant(patch)
            try:
                history.run()
            except (AssertionError, ValueError, ProtocolError):
                return True
        return False

    history = find(
        histories,
        breaks,
        settings=settings(
            max_examples=3000,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate, Phase.shrink],
        ),
    )
    assert len(history.actions) <= most_actions, history
    history.run()
