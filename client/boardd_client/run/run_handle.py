"""A run in a session: appends its records, and ends it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

from boardd_protos import boardd_pb2 as pb
from boardd_protos.address import UnixAddress
from boardd_protos.frame import HEADER_BYTES, FrameKind
from boardd_protos.printable import counted
from boardd_protos.summary_kind import SummaryKind

from boardd_client.calls import payloads
from boardd_client.calls.arguments import Bins
from boardd_client.calls.base import TaggedTensors
from boardd_client.calls.batches import Histogram, Watched, histogram_records
from boardd_client.calls.curves import CurveTemplates
from boardd_client.calls.reductions import Reductions
from boardd_client.capture import LazyScalar, Tensor
from boardd_client.memory.drop_reason import DropReason
from boardd_client.memory.pending import Pending, PendingScalar
from boardd_client.run.run_series import RunSeries
from boardd_client.session.captures import Capture
from boardd_client.session.given_steps import GivenSteps
from boardd_client.session.latest_epoch import LatestEpoch
from boardd_client.transport.flushes import Flushes
from boardd_client.transport.sender import Sender


class RunHandle:
    """A run that was defined in the session of ``sender``.

    ``path`` names it to people and in exports. A call waits for room for at most
    ``block_timeout_secs``; 0: not at all. ``warn`` is called with a key and a text, and
    warns once for each key. ``latest_epoch`` is that of the run's directory. ``reductions``:
    see ``RunSeries``.
    """

    def __init__(
        self,
        sender: Sender,
        definition: pb.RunDefinition,
        path: str,
        block_timeout_secs: float,
        warn: Callable[[str, str], None],
        latest_epoch: LatestEpoch | None = None,
        reductions: Reductions | None = None,
    ) -> None:
        self.sender: Final = sender
        self.run: Final = sender.session.define_run(definition, latest_epoch)
        self.series: Final = RunSeries(sender.session, self.run, path, reductions, warn)
        self.flushes: Final = Flushes(sender, self.run, path)
        self.given_steps: Final = GivenSteps(sender.settings.scalar_history_bytes)
        self.append_scalar: Final = sender.session.ring.append_scalar
        self._append_scalars: Final = sender.session.ring.append_scalars
        self._path = path
        self._block_timeout_secs = block_timeout_secs
        self._warn = warn
        self._curves = CurveTemplates()
        #: For each kind of room, what was freed when a call had waited for it in vain.
        self._full_at: dict[DropReason, int] = {}

    def series_of(self, tag: str, name: str = "", *, step: int = 0) -> int:
        """The series of a tag, or of curve ``name`` in its plot.

        0 if there are too many: then the record at ``step`` is dropped.
        """
        return self.series.of(tag, name) or self._too_many(step)

    def series_in(self, sub_run: str, tag: str, *, step: int = 0) -> int:
        """The series of a tag in a sub-run.

        0 if there are too many: then the record at ``step`` is dropped.
        """
        return self.series.in_sub_run(sub_run, tag) or self._too_many(step)

    def series_of_summary(
        self,
        tag: str,
        kind: SummaryKind | None,
        names: tuple[str, ...],
        *,
        sub_run: str,
        step: int,
    ) -> int:
        """The series of a tag with records of ``kind``; see ``RunSeries.of_summary``.

        0 if there are too many: then the record at ``step`` is dropped.
        """
        return self.series.of_summary(tag, kind, names, sub_run=sub_run) or self._too_many(step)

    def _too_many(self, step: int) -> int:
        self._drop(DropReason.TOO_MANY_SERIES, step=step)
        return 0

    @property
    def takes_scalar_tensors(self) -> bool:
        """Whether a scalar may be a tensor: in shared memory a daemon of 0.1.0 misreads it."""
        is_by_value = not isinstance(self.sender.address, UnixAddress)  # and made plain if need be
        return is_by_value or self.sender.session.outgoing.revision >= 1

    def log_value(
        self, series: int, step: int, wall_time: float, value: float | Tensor | LazyScalar
    ) -> None:
        """Appends a scalar, also one whose value is still to come, or drops it."""
        if isinstance(value, float):
            self.log_scalar(series, step, wall_time, value)
            return
        start = getattr(value, "start", None)
        if start is not None:
            self.log_lazy(series, step, wall_time, start)
        else:
            self.log_record(series, step, wall_time, [cast(Tensor, value)])

    def log_lazy(
        self, series: int, step: int, wall_time: float, start: Callable[[], PendingScalar]
    ) -> None:
        """Appends a scalar whose value is still to come and starts its copy, or drops it."""
        session = self.sender.session
        capture = Capture(0, ())
        deadline = 0.0
        if self._is_held_up(step):
            return
        try:
            while not session.claim_scalar(series, step, wall_time, capture):
                deadline = deadline or self._deadline(DropReason.LOG_FULL)
                if not self.sender.wait_room(deadline):
                    self._drop(DropReason.LOG_FULL, step=step)
                    return
            capture.lazy = start()
        except BaseException as error:
            session.interrupted(capture, [], error)
            self.sender.wake()
            if not isinstance(error, Exception):
                raise

    def log_scalar(self, series: int, step: int, wall_time: float, value: float) -> None:
        """Appends a scalar, or drops it."""
        deadline = 0.0
        if self._is_held_up(step):
            return
        while not self.append_scalar(series, step, wall_time, value):
            deadline = deadline or self._deadline(DropReason.LOG_FULL)
            if not self.sender.wait_room(deadline):
                self._drop(DropReason.LOG_FULL, step=step)
                return

    def log_known_curves(
        self, tag: str, step: int, wall_time: float, values: Mapping[str, object]
    ) -> bool:
        """Logs numbers by name, all in one step, if these names came together before.

        Returns False if they did not, or if any value is not a plain number.
        """
        found = self._curves.find(tag, values)
        if found is None:
            return False
        targets, numbers = found
        deadline = 0.0
        if self._is_held_up(step, records=len(targets)):
            return True
        while not self._append_scalars(targets, step, wall_time, numbers):
            deadline = deadline or self._deadline(DropReason.LOG_FULL)
            if not self.sender.wait_room(deadline):
                self._drop(DropReason.LOG_FULL, step=step, records=len(targets))
                break
        return True

    def learn_curves(self, tag: str, names: tuple[object, ...]) -> None:
        """Notes that numbers of these names were logged one by one.

        The second time in a row makes a template of them.
        """
        # More might never find room together, not even in an empty ring.
        if HEADER_BYTES * len(names) > self.sender.session.ring.largest_frame_bytes:
            return
        if self._curves.is_repeated(tag, names):
            series = [self.series.by_curve.get((tag, str(name)), 0) for name in names]
            if all(series):
                self._curves.add(tag, names, series)

    def log_histograms(
        self,
        histograms: TaggedTensors,
        step: int,
        wall_time: float,
        bins: Bins,
        watched: Watched | None = None,
        *,
        is_each_alone: bool,
    ) -> None:
        """Logs histograms, each a tag and its values; those of small arrays in one record.

        Raises ``ValueError`` if one of the tags is another kind; then nothing was logged.
        With ``watched``, such a tag is refused there instead.
        """
        found: list[Histogram] = []
        names = {} if watched is None else watched.names
        for tag, tensor in histograms:
            try:
                series = self.series.of_summary(tag, SummaryKind.HISTOGRAM)
            except ValueError as error:
                if watched is None:
                    raise
                watched.refused[tag] = error
            else:
                found.append(Histogram(series, tensor, names.get(tag, "")))
        known = [one for one in found if one.series or self._too_many(step)]
        for one in histogram_records(
            known,
            bins,
            is_each_alone=is_each_alone or self.sender.session.outgoing.revision < 1,
            health_tag="" if watched is None else watched.health_tag,
            missing=len(found) - len(known),
        ):
            self.log_record(
                one.series[0],
                step,
                wall_time,
                one.tensors,
                one.payload,
                FrameKind.SERIES_SUMMARIES if one.sizes else FrameKind.SUMMARY,
            )

    def log_record(
        self,
        series: int,
        step: int,
        wall_time: float,
        tensors: Sequence[Tensor],
        payload: bytes = b"",
        kind: FrameKind = FrameKind.SUMMARY,
    ) -> None:
        """Appends a record and starts the copies of its tensors, or drops the whole of it.

        Without a payload it is a scalar, of the one tensor's one element; else of ``kind``.
        """
        session = self.sender.session
        dtype = "" if payload else tensors[0].dtype
        sizes = [tensor.size_bytes for tensor in tensors]
        capture = Capture(0, ())
        pendings: list[Pending] = []
        deadline = 0.0
        if self._is_held_up(step, sum(sizes)):
            return
        try:
            while True:
                claimed = session.claim(
                    series, step, wall_time, payload, sizes, dtype, into=capture, kind=kind
                )
                if isinstance(claimed, Capture):
                    break
                deadline = deadline or self._deadline(claimed)
                if not claimed.may_pass or not self.sender.wait_room(deadline):
                    self._drop(claimed, sum(sizes), step=step)
                    return
            for tensor, slot in zip(tensors, capture.slots, strict=True):
                pending = tensor.copy_into(slot.view)
                if pending is not None:
                    pendings.append(pending)
            session.copies_started(capture, pendings)
        except BaseException as error:
            # The record is numbered, so it must not stay claimed whatever was raised; and its
            # slots are not free before the copies that were started have ended.
            session.interrupted(capture, pendings, error)
            self.sender.wake()
            if not isinstance(error, Exception):
                raise

    def log_text(self, tag: str, markdown: str) -> None:
        """Logs a text of boardd's own, at step 0 and the time of now."""
        series = self.series_of_summary(tag, SummaryKind.TEXT, (), sub_run="", step=0)
        if series:
            self.log_record(series, 0, time.time(), [], payloads.text(markdown))

    def _is_held_up(self, step: int, size_bytes: int = 0, *, records: int = 1) -> bool:
        """Waits for the run to take records again; if it does not, these are dropped."""
        if not self.run.is_held_up:
            return False
        deadline = self._deadline(DropReason.RUN_HELD_UP)
        while self.run.is_held_up:
            if not self.sender.wait_room(deadline):
                self._drop(DropReason.RUN_HELD_UP, size_bytes, step=step, records=records)
                return True
        return False

    def _deadline(self, reason: DropReason) -> float:
        """Until when to wait for room of a kind; in the past if there is no waiting.

        After a wait in vain there is none before some room of that kind was freed.
        """
        is_hopeless = self._full_at.get(reason) == self.sender.session.done.freed(reason)
        return time.monotonic() + (-1.0 if is_hopeless else self._block_timeout_secs or -1.0)

    def _drop(
        self, reason: DropReason, size_bytes: int = 0, *, step: int = 0, records: int = 1
    ) -> None:
        session = self.sender.session
        if session.ring.is_closed:
            reason = DropReason.PROCESS_ENDED
            self.flushes.too_late += records
        self._full_at[reason] = session.done.freed(reason)
        self.flushes.dropped[reason.value] += records
        session.drop(reason, size_bytes, run=self.run, step=step, records=records)
        self._warn(
            reason.value,
            f"{self._path}: a record was dropped: {reason.text} (the next are only counted, "
            "see statistics())",
        )

    @property
    def state(self) -> str:
        """How the run fares, for people."""
        if self.run.refusal:
            return f"refused: {self.run.refusal}"
        pending = self.sender.session.statistics().pending
        return f"{counted(pending, 'record')} not written yet" if pending else "all written"

    def end(self, deadline: float) -> bool:
        """Appends the run's end; False if there was no room for it until ``deadline``."""
        while not self.sender.session.end_run(self.run, time.time()):
            if not self.sender.wait_room(deadline):
                return False
        return True
