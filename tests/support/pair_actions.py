"""What can happen to a pair of ends, one value an action.

Values, so that a history that breaks a rule can be shrunk and read. An action that cannot
happen at its moment does nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st

from support.end_pair import HELPING_BYTES, Action, Answer, EndPair
from support.pair_client import BAD_TAG


@dataclass(frozen=True)
class LogScalar:
    logdir: str
    tag: str = "loss"

    def do(self, pair: EndPair) -> None:
        pair.client.log_scalar(self.logdir, self.tag)


@dataclass(frozen=True)
class LogCurves:
    logdir: str

    def do(self, pair: EndPair) -> None:
        pair.client.log_curves(self.logdir)


@dataclass(frozen=True)
class LogTensor:
    logdir: str
    size_bytes: int
    is_copied: bool = True

    def do(self, pair: EndPair) -> None:
        pair.client.log_tensor(self.logdir, self.size_bytes, is_copied=self.is_copied)


@dataclass(frozen=True)
class LogLazy:
    logdir: str
    in_slot: bool

    def do(self, pair: EndPair) -> None:
        pair.client.log_lazy(self.logdir, in_slot=self.in_slot)


@dataclass(frozen=True)
class LogMany:
    """As many scalars as fill the ring, and one more."""

    logdir: str

    def do(self, pair: EndPair) -> None:
        dropped = pair.client.dropped
        while pair.client.dropped == dropped:
            pair.client.log_scalar(self.logdir)


@dataclass(frozen=True)
class EndRun:
    logdir: str

    def do(self, pair: EndPair) -> None:
        pair.client.end_run(self.logdir)


@dataclass(frozen=True)
class EndCopy:
    which: int
    fails: bool = False

    def do(self, pair: EndPair) -> None:
        pair.client.end_copy(self.which, fails=self.fails)


@dataclass(frozen=True)
class Connect:
    answer: Answer = Answer.OPENS
    late: int = 0

    def do(self, pair: EndPair) -> None:
        pair.connect(self.answer, self.late)


@dataclass(frozen=True)
class Cut:
    def do(self, pair: EndPair) -> None:
        pair.cut()


@dataclass(frozen=True)
class Send:
    max_bytes: int = HELPING_BYTES

    def do(self, pair: EndPair) -> None:
        pair.send(self.max_bytes)


@dataclass(frozen=True)
class Deliver:
    count: int

    def do(self, pair: EndPair) -> None:
        pair.deliver(self.count)


@dataclass(frozen=True)
class ReadRing:
    limit_bytes: int

    def do(self, pair: EndPair) -> None:
        if pair.live is not None:
            pair.daemon.read_ring(pair.live, self.limit_bytes)


@dataclass(frozen=True)
class Write:
    which: int
    parts: int

    def do(self, pair: EndPair) -> None:
        pair.daemon.disk.write(self.which, self.parts)


@dataclass(frozen=True)
class HoldUp:
    """A run writes nothing from now on."""

    which: int
    trouble: str = ""

    def do(self, pair: EndPair) -> None:
        pair.daemon.disk.hold_up(self.which, self.trouble)


@dataclass(frozen=True)
class GoOn:
    """No run is held up any more."""

    def do(self, pair: EndPair) -> None:
        pair.daemon.disk.go_on()


@dataclass(frozen=True)
class RejectSome:
    which: int

    def do(self, pair: EndPair) -> None:
        pair.daemon.disk.reject_some(self.which)


@dataclass(frozen=True)
class RefuseRun:
    which: int

    def do(self, pair: EndPair) -> None:
        pair.daemon.refuse_run(self.which)


@dataclass(frozen=True)
class Hear:
    count: int

    def do(self, pair: EndPair) -> None:
        pair.hear(self.count)


@dataclass(frozen=True)
class NoticeStreams:
    def do(self, pair: EndPair) -> None:
        pair.daemon.notice_streams()


@dataclass(frozen=True)
class NoticeMaps:
    def do(self, pair: EndPair) -> None:
        pair.daemon.notice_maps()


@dataclass(frozen=True)
class Adopt:
    def do(self, pair: EndPair) -> None:
        pair.daemon.adopt()


@dataclass(frozen=True)
class PassTime:
    secs: float

    def do(self, pair: EndPair) -> None:
        pair.pass_time(self.secs)


@dataclass(frozen=True)
class KillClient:
    def do(self, pair: EndPair) -> None:
        pair.kill_client()


@dataclass(frozen=True)
class KillDaemon:
    def do(self, pair: EndPair) -> None:
        pair.kill_daemon()


@dataclass(frozen=True)
class DrainDaemon:
    def do(self, pair: EndPair) -> None:
        pair.drain_daemon()


@dataclass(frozen=True)
class Close:
    """The client ends its session in good order, if all is written."""

    def do(self, pair: EndPair) -> None:
        pair.close()


@dataclass(frozen=True)
class Round:
    """All that is under way goes on."""

    def do(self, pair: EndPair) -> None:
        pair.do_round()


@dataclass(frozen=True)
class History:
    """A pair of ends and what happens to it."""

    actions: list[Action]
    is_shareable: bool
    can_watch: bool

    def run(self) -> EndPair:
        """Raises if a rule is broken at any moment, or when both ends have come to rest."""
        pair = EndPair(is_shareable=self.is_shareable, can_watch=self.can_watch)
        pair.do(self.actions)
        pair.settle()
        return pair


_LOGDIRS: Final = ("a", "b", "outside")
_WHICH: Final = range(3)

#: Simple ones first: a history shrinks towards them. One that stands here ``n`` times is ``n``
#: times as frequent.
ACTIONS: Final[tuple[Action, ...]] = (
    *(LogScalar(logdir, tag) for tag in ("loss", BAD_TAG) for logdir in _LOGDIRS),
    *(LogCurves(logdir) for logdir in _LOGDIRS),
    *(
        LogTensor(logdir, size_bytes, is_copied)
        for is_copied in (True, False)
        for size_bytes in (8, 100, 450)
        for logdir in ("a", "b")
    ),
    *(LogLazy(logdir, in_slot) for in_slot in (False, True) for logdir in _LOGDIRS),
    LogMany("a"),
    *(EndRun(logdir) for logdir in _LOGDIRS),
    *(EndCopy(which, fails) for fails in (False, True) for which in _WHICH),
    *10 * (Connect(),),
    *2 * (Connect(late=9),),
    *(Connect(answer) for answer in Answer),
    *2 * (Connect(Answer.HESITATES),),
    *2 * (Cut(),),
    *(Send(max_bytes) for max_bytes in 8 * (400, 100)),
    *(Deliver(count) for count in (*range(1, 5), *8 * (9,))),
    *(ReadRing(limit_bytes) for limit_bytes in 4 * (300, 48)),
    *(Write(which, parts) for parts in (1, 2) for which in _WHICH),
    *(HoldUp(which, trouble) for trouble in 2 * ("full", "") for which in _WHICH),
    GoOn(),
    *(RejectSome(which) for which in _WHICH),
    RefuseRun(0),
    *(Hear(count) for count in (1, 2, 3, 3, 3)),
    *2 * (NoticeStreams(),),
    *3 * (NoticeMaps(),),
    *2 * (Adopt(),),
    *(PassTime(secs) for secs in (0.5, 1.0, 600.0)),
    Round(),
    *2 * (Close(),),
    *2 * (KillClient(),),
    *2 * (KillDaemon(),),
    DrainDaemon(),
)

#: A run is held up while another one of the client goes on: what follows finds frames parked.
HELD_UP: Final[tuple[Action, ...]] = (
    *(LogScalar("a"), LogTensor("a", 100), LogScalar("b", BAD_TAG), LogScalar("b")),
    *(Connect(), Send(), Deliver(9), ReadRing(300), ReadRing(300)),
    *(HoldUp(0, "full"), Round(), Round()),
)


def _joined(parts: list[list[Action]]) -> list[Action]:
    return [action for part in parts for action in part]


_actions = st.sampled_from(ACTIONS)
#: Lists of lists: one list would have five elements on average.
histories = st.builds(
    History,
    st.lists(st.lists(_actions, max_size=10), max_size=12).map(_joined),
    is_shareable=st.booleans(),
    can_watch=st.booleans(),
)
