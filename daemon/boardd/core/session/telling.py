"""What a client is told of its session: rejections, refused runs, acknowledgements.

All there is to tell is told in one go: what is rejected and refused first, then the one
acknowledgement that covers it.
"""

from __future__ import annotations

from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.printable import printable

from boardd.core.runs.defined_runs import RunRefusal
from boardd.core.session.progress import SessionProgress
from boardd.core.session.settled import Settled

#: Notices that wait for a stream; more are left out.
MAX_NOTICES: Final = 64


class Telling:
    """What of ``progress`` and of refusals is still to be told; see the module."""

    def __init__(self, progress: SessionProgress) -> None:
        self._progress = progress
        self._refusals: dict[tuple[int, str], RunRefusal] = {}
        self._notices: list[str] = []
        self._told: Settled | None = None  # on this stream
        self._told_bytes = 0

    def begin(self) -> None:
        """A new stream begins: what its client has not heard is to be told again."""
        self._told = None
        self._progress.rejections.tell_again()

    def refuse(self, refusal: RunRefusal) -> None:
        """A run, or a sub-run, is refused."""
        self._refusals[refusal.run, refusal.sub_run] = refusal

    def notice(self, message: str) -> None:
        """Whoever trains is to be warned of something."""
        if len(self._notices) < MAX_NOTICES:
            self._notices.append(message)

    def resume(self, number: int) -> None:
        """The client opens the session and has heard the rejections up to ``number``."""
        self._progress.rejections.resume(number)

    def heard(self, number: int) -> None:
        """The client has heard the rejections up to ``number``."""
        self._progress.rejections.heard(number)

    @property
    def has_news(self) -> bool:
        """Whether anything is to be told."""
        return (
            bool(self._refusals or self._notices)
            or self._progress.rejections.are_due
            or self._progress.settled != self._told
        )

    @property
    def untold_records(self) -> int:
        """Records that are done and were not acknowledged on this stream."""
        told = 0 if self._told is None else self._told.written_sequence
        return self._progress.written_sequence - told

    @property
    def untold_bytes(self) -> int:
        """What the client keeps, in bytes, for what is done since the last acknowledgement."""
        return self._progress.done_bytes - self._told_bytes

    def take(self) -> list[pb.DaemonMessage]:
        """Returns what is to be told, in its order."""
        settled = self._progress.settled
        messages = [
            pb.DaemonMessage(rejected=rejected)
            for rejected in self._progress.rejections.take(settled)
        ]
        for told in self._refusals.values():
            refused = pb.RunRefused(
                run=told.run,
                reason=pb.Reason.Name(told.refusal.reason),
                message=printable(told.refusal.message),
                sub_run=told.sub_run,
            )
            messages.append(pb.DaemonMessage(run_refused=refused))
        self._refusals.clear()
        messages += [
            pb.DaemonMessage(notice=pb.Notice(message=printable(text))) for text in self._notices
        ]
        self._notices.clear()
        if settled != self._told:
            self._told = settled
            self._told_bytes = self._progress.done_bytes
            messages.append(pb.DaemonMessage(acknowledged=settled.message()))
        return messages
