"""``SummaryWriter``: what a training script calls.

A call checks its arguments, copies the value or starts the copy, and appends a
record in memory. It does not wait for the daemon, the disk or a device, unless
``on_full="block"`` says so, and it never raises because of them.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
import time
import weakref
from dataclasses import replace
from functools import partial
from types import MappingProxyType, TracebackType
from typing import Any, Final

from boardd_protos import logdir_paths, remote_logdir
from boardd_protos.address import UnixAddress

from boardd_client import ranks
from boardd_client.calls import (
    DistributionCalls,
    ExperimentCalls,
    MediaCalls,
    ReadyCalls,
    SpaceCalls,
    arguments,
)
from boardd_client.calls.reductions import Reductions
from boardd_client.calls.run_options import RunOptions
from boardd_client.environment import Settings, token_in_clear
from boardd_client.memory.drop_reason import DropReason
from boardd_client.run.export_calls import ExportCalls
from boardd_client.run.recording import Recording
from boardd_client.run.run_handle import RunHandle
from boardd_client.session.counters import Statistics
from boardd_client.session.flush_result import FlushResult
from boardd_client.transport.gathering import (
    FINISH_SECS,
    PROVENANCE_TAG,
    Gathering,
    gatherings,
)
from boardd_client.transport.look_ahead import look_ahead
from boardd_client.transport.roots import check_roots
from boardd_client.transport.run_location import RunLocation
from boardd_client.transport.senders import senders
from boardd_client.transport.warn_once import WarnOnce

_logger = logging.getLogger("boardd_client")

DEFAULT_TIMEOUT_SECS: Final = 30.0

_END_SECS: Final = 5.0
_time = time.time


class SummaryWriter(
    Recording,
    DistributionCalls,
    MediaCalls,
    SpaceCalls,
    ExperimentCalls,
    ReadyCalls,
    ExportCalls,
):
    """Logs to a directory that TensorBoard reads, through the boardd daemon.

    Takes MXBoard's arguments with MXBoard's meaning. New arguments are
    keyword-only.

    If there are several workers, each logs to the same ``logdir`` and ``run``, and the
    daemon merges what they log there.

    Args:
        logdir: directory of the run. A relative one starts at the current directory,
            or at the daemon's first root if the daemon is reached over TCP.
        max_queue: when this many records wait, send them now (at most 20 times a
            second) instead of at the next 0.1 s tick. 0 turns this off.
        flush_secs: the longest time, in seconds, until a record is sent to the daemon,
            which writes it. It is never above 0.1 s if the daemon keeps up; smaller
            values shorten it, down to 0.02 s.
        filename_suffix: ends the names of the event files; no type that programs load (``.py``).
        verbose: sets the logger ``boardd_client`` to INFO if it has no level.
        address: of the daemon, ``unix:/path`` or ``host:port``. Default: the
            environment's ``BOARDD_ADDRESS``, else the user's own daemon, which is
            started if none runs.
        rank: the number of this worker, from 0. Default: what the environment says.
        world_size: the number of workers. Default: what the environment says.
        run: a sub-directory of ``logdir`` for this run.
        on_full: what a call does when there is no room for its record. ``"drop"`` loses
            the record, counts it, and warns once. ``"block"`` waits for room, for
            ``BOARDD_BLOCK_TIMEOUT_SECS`` (60) at most, and then drops.
        purge_step: the step from which training goes on: what the run holds at this step
            and later is out of date, and TensorBoard shows it no more. Writers of other
            processes that were made before this one are superseded: what they log to the
            run from now on is rejected. The run's curves (``tag/name``) are purged with it.
            Default: nothing is out of date.
        sync: when the run's files are made durable, so that a power cut does not lose
            them. ``"never"``: when its file is closed, and by
            ``flush(level="synced")``. ``"flush"``: by every ``flush()`` and
            ``close()``, which say whether it was done. A number: so many seconds after
            something was written, at the latest (0.1 at least). Default: as the daemon's
            ``--sync`` says; if both ask for something, both are done.
        reduce: how the values that the ranks give a scalar at a step become one:
            ``"mean"``, ``"sum"``, ``"min"``, ``"max"``, or ``"last"``, the latest.
            Default: the environment's ``BOARDD_REDUCE``, else ``"mean"``.
        per_rank: what each rank keeps of its own, in ``rank_<r>`` beneath the run:
            ``"scalars"``, ``"all"`` or ``"none"``. Default: the environment's
            ``BOARDD_PER_RANK``, else ``"scalars"``.
        launch: what tells this launch of the ranks from others, up to 512 bytes, the same
            for all of its ranks. Default: ``BOARDD_LAUNCH``, else what the launcher says.
        keep_tags: whether tags are written as they are. Default: no, as in MXBoard:
            characters other than letters, digits and ``-_./`` become ``_``.
        system_metrics: whether the daemon measures this process and its host, as
            ``system/...``, or every how many seconds (1 or more; True: 15). Default:
            ``BOARDD_SYSTEM_METRICS``, else True.
        provenance: whether a text ``boardd/provenance`` says where the run came from.
            Default: ``BOARDD_PROVENANCE``, else True.

    Raises:
        TypeError, ValueError: an argument or environment variable is not as described,
            ``BOARDD_TOKEN`` would cross a network in clear, or the daemon on this host does
            not write in ``logdir``.
    """

    def __init__(
        self,
        logdir: str | os.PathLike[str],
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str | None = None,
        verbose: bool = True,
        *,
        address: str | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        run: str | None = None,
        on_full: str = "drop",
        purge_step: int | None = None,
        sync: str | float | None = None,
        reduce: str | None = None,
        per_rank: str | None = None,
        launch: str | None = None,
        keep_tags: bool = False,
        system_metrics: bool | float | None = None,
        provenance: bool | None = None,
    ) -> None:
        self._settings = Settings.from_environ(os.environ)
        self._logdir = arguments.logdir(logdir)
        self._max_queue = arguments.count(max_queue, "max_queue")
        self._flush_secs = arguments.secs(flush_secs, "flush_secs")
        self._run_options = RunOptions.checked(
            run=run,
            filename_suffix=filename_suffix,
            purge_step=purge_step,
            sync=sync,
            reduce=self._settings.reduce if reduce is None else reduce,
            per_rank=self._settings.per_rank if per_rank is None else per_rank,
            keep_tags=keep_tags,
            system_metrics=self._settings.system_metrics
            if system_metrics is None
            else system_metrics,
            provenance=self._settings.provenance if provenance is None else provenance,
        )
        self._on_full = arguments.choice(on_full, "on_full", arguments.ON_FULL)
        self._verbose = bool(verbose)
        # Forked and unpickled writers keep it: they are not this one's successors.
        self._epoch = self._settings.epoch or time.time_ns()
        self._has_siblings = False
        self._address = self._settings.address_of(address)
        in_clear = token_in_clear(self._address, self._settings.access)
        if in_clear:
            raise ValueError(in_clear)
        # Later changes of directory must not move the run.
        self._directory, self._location = self._logdir, None
        if isinstance(self._address, UnixAddress):
            self._directory = logdir_paths.absolute(self._logdir)
            check_roots(self._address, self._logdir, self._directory)
            if not remote_logdir.is_remote(self._directory):
                self._location = RunLocation(self._directory, partial(look_ahead, self._address))
        self._ranks: ranks.Ranks = ranks.resolve(rank, world_size, os.environ, launch)
        names = (self._directory, self._run_options.name, *self._ranks[:2])
        self._latest_epoch = senders.latest_epoch(str(self._address), *names)
        if self._ranks.rank is None and (self._ranks.world_size or 1) > 1:
            _logger.warning(
                "boardd: %s: one of %d workers, but which one is not known: it gets a run of its "
                "own, named by host and process; pass rank= or set BOARDD_RANK",
                self.get_logdir(),
                self._ranks.world_size,
            )
        if self._verbose and _logger.level == logging.NOTSET:
            _logger.setLevel(logging.INFO)
        self._closed = False
        self._closed_drops = 0
        self._tells_provenance = self._run_options.provenance
        self._warn = WarnOnce()
        self._reductions = Reductions(self._run_options.reduce, WarnOnce())
        self._past: list[RunHandle] = []  # for statistics and exports
        self._start_anew()
        senders.add_forkable(self)

    def _start_anew(self) -> None:
        self._lock = threading.RLock()
        self._attached: RunHandle | None = None
        self._gathering: Gathering | None = None
        self._finalizer: weakref.finalize[Any, Any] | None = None
        # What add_scalar needs and no more: a known tag's series, and the ring's method.
        self._series: dict[str, int] = {}
        self._append_scalar: Any = None

    def after_fork(self) -> None:
        """Starts anew in a forked child; the parent's session is the parent's."""
        if self._finalizer is not None:
            self._finalizer.detach()
        self._past = []
        self._has_siblings = True
        self._start_anew()

    # Logging

    def add_scalar(
        self,
        tag: str,
        value: Any,
        global_step: Any = None,
        *,
        walltime: float | None = None,
        reduce: str | None = None,
    ) -> None:
        """Logs a number, or several curves in one plot.

        Args:
            tag: name of the plot; without ``keep_tags`` characters other than letters,
                digits and ``-_./`` become ``_``.
            value: a number, shown as the nearest float32, as TensorBoard's scalars are; an
                array of one element, which may still be computing; ``(name, value)``; or a
                dict of names and values. Named values go to the sub-runs ``tag/name``,
                under the tag ``tag``.
            global_step: the step; None is 0, fractions are cut off.
            walltime: seconds since the epoch; None is now.
            reduce: how the values of several ranks become one, as for the writer. The
                first call that logs the tag decides; None is what it said, or the
                writer's.

        Raises:
            TypeError, ValueError: not as described.
        """
        kind = type(value)
        try:
            if (
                walltime is None
                and reduce is None
                and (kind is float or kind is int)
                and type(global_step) is int
            ):
                series = self._series[tag]
                if self._append_scalar(series, global_step, _time(), value):
                    return
        except (KeyError, TypeError, struct.error):
            pass  # a new tag, or an argument that the checks will name
        self._add_scalar(tag, value, global_step, walltime, reduce)

    def _attach(self) -> RunHandle | None:
        """This writer's run in a session, begun if need be; None if the writer is closed."""
        attached = self._attached
        if attached is not None:
            return attached
        with self._lock:
            if self._closed:
                self._closed_drops += 1
                self._warn(
                    DropReason.CLOSED.value,
                    f"{self.get_logdir()}: this writer is closed, and what is logged to it is lost "
                    "before reopen()",
                )
            elif self._attached is None:
                self._attached = attached = self._begin_run()
                self._series = attached.series.by_tag
                self._append_scalar = attached.append_scalar
                attached.sender.start()
            return self._attached

    def _begin_run(self) -> RunHandle:
        sender = senders.acquire(self._address, self._settings)
        sender.pace(max_queue=self._max_queue, flush_secs=self._flush_secs)
        found = self._ranks
        definition = self._run_options.definition(self._directory)
        definition.rank = -1 if found.rank is None else found.rank
        definition.world_size = found.world_size or 0
        definition.launch, definition.attempt = found.launch, found.attempt
        definition.epoch, definition.has_siblings = self._epoch, self._has_siblings
        definition.process_id = senders.process_id
        if self._location is not None:
            self._location.describe(definition)
        block_secs = self._settings.block_timeout_secs if self._on_full == "block" else 0.0
        path, latest = self.get_logdir(), self._latest_epoch
        run = RunHandle(sender, definition, path, block_secs, self._warn, latest, self._reductions)
        # For a writer that is never closed: the sender ends its run and releases itself.
        self._finalizer = weakref.finalize(self, sender.abandoned.append, run.run)
        self._finalizer.atexit = False
        if self._tells_provenance and not self._has_siblings:
            self._tells_provenance = False
            self._gathering = gatherings.begin(partial(run.log_text, PROVENANCE_TAG))
        if self._verbose:
            _logger.info("boardd: logging to %s through the daemon at %s", path, self._address)
        return run

    # Lifecycle

    def get_logdir(self) -> str:
        """The log directory as it was given, with the run's name.

        If there are several workers, this is where their merged series are, with those
        of the lowest and highest values in ``min`` and ``max`` beneath it, and what each
        keeps of its own in ``rank_<r>``.
        """
        name = self._run_options.name
        return os.path.join(self._logdir, name) if name else self._logdir

    def flush(self, timeout: float | None = None, level: str = "written") -> FlushResult:
        """Waits until everything logged so far has reached a level.

        Args:
            timeout: seconds to wait at most, also where no daemon can be had; 0 only has what
                was logged sent soon. None: 1, so that it may stand in a loop; after a wait in
                vain 0, until the daemon answers again.
            level: ``"written"`` (handed to the operating system) or ``"synced"``
                (on the disk).

        Returns:
            A result that is true if the level was reached. It is false, with the
            reason, after the timeout, if the daemon refuses the run, and if it
            rejected any of this writer's records since the last flush.

        Raises:
            TypeError, ValueError: not as described.
        """
        level = arguments.choice(level, "level", arguments.LEVELS)
        timeout_secs = None if timeout is None else arguments.timeout(timeout)
        attached = self._attached
        if attached is None:
            return FlushResult(ok=True)
        return attached.flushes.flush(timeout_secs, level)

    def _flush_closed(self, timeout_secs: float) -> FlushResult:
        """Waits until what was logged before the last ``close`` is written."""
        if not self._past:
            return FlushResult(ok=True)
        return self._past[-1].flushes.flush(timeout_secs, "written")

    def close(self, timeout: float | None = None) -> FlushResult:
        """Waits until everything is written, and closes the run's event file.

        A second call does nothing.

        Args:
            timeout: seconds to wait at most. What is not written then is still sent in the
                background, as long as the process lives. None: 30, or fewer if no daemon can
                be had.

        Returns:
            What ``flush`` returns.

        Raises:
            TypeError, ValueError: not as described.
        """
        timeout_secs = DEFAULT_TIMEOUT_SECS if timeout is None else arguments.timeout(timeout)
        deadline = time.monotonic() + timeout_secs
        with self._lock:
            self._closed = True
            run, self._attached = self._attached, None
            self._series, self._append_scalar = {}, None
            if run is None:
                return FlushResult(ok=True)
            if self._finalizer is not None:
                self._finalizer.detach()
            self._past.append(run)
        if self._gathering is not None:
            self._gathering.finish(min(FINISH_SECS, max(0.0, deadline - time.monotonic())))
        sender = run.sender
        has_ended = run.end(deadline)
        remaining_secs = max(0.0, deadline - time.monotonic())
        is_patient = timeout is not None
        result = run.flushes.flush(remaining_secs, "written", is_patient=is_patient)
        if not has_ended:
            sender.abandoned.append(run.run)  # the sender ends and releases it when there is room
            sender.wake()
            return result
        senders.release(sender)
        if result.ok and not sender.users:
            # Its thread and connection are about to end; leave nothing behind.
            sender.wait_finished(max(0.0, min(_END_SECS, deadline - time.monotonic())))
        return result

    def reopen(self) -> None:
        """Opens a closed writer again; the next record begins a new event file."""
        with self._lock:
            self._closed = False

    def statistics(self) -> Statistics:
        """Counts of this process's session with the daemon; see ``Statistics``."""
        runs = self._all_runs()
        counts = runs[-1].sender.session.statistics() if runs else Statistics()
        if self._closed_drops:
            dropped = {**counts.dropped, DropReason.CLOSED.value: self._closed_drops}
            counts = replace(counts, dropped=MappingProxyType(dropped))
        return counts

    def _all_runs(self) -> list[RunHandle]:
        with self._lock:
            return [*self._past, *([self._attached] if self._attached is not None else [])]

    # Protocols of the language

    def __repr__(self) -> str:
        run = self._attached
        state = "closed" if self._closed else "nothing logged" if run is None else run.state
        return f"<SummaryWriter {self.get_logdir()!r} at {self._address}: {state}>"

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {
            "logdir": self._directory,
            "max_queue": self._max_queue,
            "flush_secs": self._flush_secs,
            "verbose": self._verbose,
            "address": str(self._address),
            "rank": self._ranks.rank,
            "world_size": self._ranks.world_size,
            "on_full": self._on_full,
            **self._run_options.arguments(),
            "kept": (
                self._ranks,
                self._epoch,
                self._latest_epoch.value,
                self._reductions.chosen,
                self._closed,
            ),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        found, epoch, latest_epoch, reductions, closed = state.pop("kept")
        self.__init__(**state)  # type: ignore[misc]
        if found.world_size is not None:  # another launch may have started this process
            self._ranks = found
        self._epoch, self._has_siblings = epoch, True
        self._latest_epoch.raise_to(latest_epoch)
        self._reductions = Reductions(self._run_options.reduce, WarnOnce(), reductions)
        self._closed = closed
