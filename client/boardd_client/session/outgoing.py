"""What a connection's daemon is told next, in this order:

definitions, counts of drops, which rejections were heard, and then records: first what is
parked, if this daemon does not have it. If the daemon shares the ring, records are
only how far it may read; else they are the frames, each tensor in chunks before its
record's frame.

No I/O, no clock, no thread; its session locks.
"""

from __future__ import annotations

from typing import Any

from boardd_protos import MAX_PROTOCOL_VERSION, MIN_PROTOCOL_VERSION, REVISION, __version__, tags
from boardd_protos import boardd_pb2 as pb

from boardd_client.memory.ring import Ring
from boardd_client.session.by_value import ByValue
from boardd_client.session.claims import Claims
from boardd_client.session.counters import Counters
from boardd_client.session.parked import Parked
from boardd_client.session.resending import Resending
from boardd_client.session.scalar_history import ScalarHistory
from boardd_client.session.schema import Schema


class Outgoing:
    """What was sent of a session, and what comes next."""

    def __init__(
        self,
        ring: Ring,
        by_value: ByValue,
        claims: Claims,
        schema: Schema,
        counters: Counters,
        history: ScalarHistory,
    ) -> None:
        self._ring = ring
        self._by_value = by_value
        self._claims = claims
        self._schema = schema
        self._counters = counters
        self._history = history
        self._is_open = False
        #: What the daemon understands; before there was a connection, what its sender foresees.
        self.revision = REVISION
        #: The first tag that the daemon was told as it is, and shows otherwise; else empty.
        self.altered_tag = ""
        self._is_shared = False  # the daemon of this connection reads the ring itself
        self._done = 0  # as this connection's daemon says, perhaps beyond what was sent
        self._resending: Resending | None = None

    @property
    def transport(self) -> str:
        """``"shared"``, ``"by value"``, or ``""`` while there is no connection."""
        if not self._is_open:
            return ""
        return "shared" if self._is_shared else "by value"

    @property
    def is_resending(self) -> bool:
        """Whether what is parked is being sent, and must stay where it is."""
        return self._is_open and self._resending is not None

    @property
    def sent_bytes(self) -> int:
        """Frames and tensors that were sent by value, those sent again included."""
        return self._by_value.sent_bytes

    @property
    def is_window_full(self) -> bool:
        """Whether nothing more is sent before something is acknowledged."""
        return self._by_value.is_window_full

    def begin(self, reply: pb.OpenReply, through: int, parked: Parked, *, is_shared: bool) -> None:
        """A connection was made. All up to ``through`` is ``parked`` or done."""
        self.revision = reply.revision
        self._done = 0  # another daemon may know less than the one before
        received = self._believed(reply.received_sequence)
        if received > self._by_value.highest_sent:
            # A daemon that took this process for dead has read on in the ring. Up to the first
            # record that is claimed, nothing needs to be sent again.
            self._history.follow_all(self._ring)
            self._by_value.committed(min(received, self._ring.readable()))
        sent = max(through, min(received, self._by_value.highest_sent))
        # What the daemon has behind a claimed record is sent again, to be passed over. It would
        # be freed before the daemon reads it in the ring.
        self._is_shared = is_shared and received <= sent
        self._counters.resume(received)
        self._resending = None
        if received < through:
            self._resending = Resending(
                parked.after(received),
                through,
                self._claims,
                has_maps=self._is_shared,
                revision=reply.revision,
            )
        self._schema.tell_all()
        self._by_value.begin(sent, reply)
        self._is_open = True

    def end(self) -> None:
        """The connection is gone."""
        self._is_open = False

    def done(self, sequence: int) -> int:
        """The daemon says that everything up to ``sequence`` is written or rejected.

        Returns up to where that holds for what was sent; of the rest it will when it is sent.
        """
        self._done = max(self._done, self._believed(sequence))
        return min(self._done, self._by_value.highest_sent)

    def sent_until(self, sequence: int) -> int:
        """Up to where what the daemon says of records up to ``sequence`` is believed."""
        return min(self._believed(sequence), self._by_value.highest_sent)

    def _believed(self, sequence: int) -> int:
        """What a daemon says it has; of what was never in the ring, only what was sent."""
        is_possible = sequence <= self._ring.last_sequence
        return sequence if is_possible else self._by_value.highest_sent

    def acknowledged(self, sequence: int) -> None:
        """Everything up to ``sequence`` is done."""
        self._by_value.acknowledged(sequence)

    def open_request(self, **session: Any) -> pb.OpenRequest:
        """The message that begins or resumes a session, of which ``session`` tells."""
        return pb.OpenRequest(
            min_protocol_version=MIN_PROTOCOL_VERSION,
            max_protocol_version=MAX_PROTOCOL_VERSION,
            client_version=__version__,
            heard_rejections=self._counters.rejected.last_heard,
            **session,
        )

    def attachment(self, session_id: bytes) -> pb.Attach:
        """What attaches the stream."""
        attach = pb.Attach(session_id=session_id)
        if self._is_shared:
            sent = self._by_value.sent
            attach.log_from.sequence = sent
            attach.log_from.position = self._ring.position_after(sent)
        return attach

    def next_messages(self, max_bytes: int, now: float) -> list[pb.ClientMessage]:
        """``max_bytes`` of frames and tensors at most; may be nothing."""
        messages: list[pb.ClientMessage] = []
        if not self._is_open:
            return messages
        # Before the definitions: those of a record are made before it.
        last = self._ring.last_sequence
        self._history.follow(self._ring, max_bytes)
        for definitions in self._schema.untold():
            messages.append(pb.ClientMessage(definitions=definitions))
            if self.revision < 1 and not self.altered_tag:
                self.altered_tag = self._altered(definitions)
        report = self._counters.report(now)
        if report is not None:
            messages.append(pb.ClientMessage(report=report))
        heard = self._counters.rejected.heard_number()
        if heard:
            messages.append(pb.ClientMessage(heard_rejections=heard))
        if self._resending is not None:
            self._resending.add_messages(messages, max_bytes)
            if not self._resending.is_over:
                return messages
            self._resending = None
        # What was sent may be acknowledged and freed, so it was looked at before.
        last = min(last, self._history.observed_sequence)
        if self._is_shared:
            self._add_committed(messages, last)
        else:
            self._by_value.add_messages(messages, last, max_bytes)
        return messages

    def _altered(self, definitions: pb.Definitions) -> str:
        """The first tag that a daemon shows otherwise which shows none as given."""
        for series in definitions.series:
            run = self._schema.run(series.run)
            tag: str = series.tag
            if run is not None and run.definition.tags_as_given and tags.clean(tag) != tag:
                return tag
        return ""

    def _add_committed(self, messages: list[pb.ClientMessage], last: int) -> None:
        """Lets the daemon read the ring up to the last frame that is whole."""
        last = min(last, self._ring.readable())
        if last <= self._by_value.sent:
            return
        position = self._ring.position_after(last)
        messages.append(
            pb.ClientMessage(committed=pb.LogPosition(sequence=last, position=position))
        )
        self._by_value.committed(last)
