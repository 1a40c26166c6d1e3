"""Run directories: who feeds each one, which tags it has, how it is doing.

A ``RunState`` is one directory with one live event file. Sessions that name the
same path share it, so that it has one writer. Its fields are split by who writes
them: the event loop's are in ``RunState`` itself, those of the run's writer in
``RunProgress`` and ``RunContents``.

Each session's place in the run is a ``Member`` with its rank, its world size and the
launch that it belongs to. A run that ``is_merged`` is the journal of a group of ranks: what
they log is merged, and the points go to the run's ``group``, the directory that all ranks
share.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import InitVar, dataclass, field
from typing import Final, NamedTuple

from boardd_protos import boardd_pb2 as pb

from boardd.core.budget import Budgets
from boardd.core.refusals import Refusal, RefusedError
from boardd.core.runs.contents import RunContents
from boardd.core.runs.group_progress import GroupProgress
from boardd.core.runs.marks import MAX_ENDED_JOURNAL_MARKS, MAX_JOURNAL_MARKS, Marks
from boardd.core.runs.names import JOURNAL_DIRECTORY
from boardd.core.runs.sync_failures import SyncFailures
from boardd.core.shares import SessionPlaces, Shares, has_place
from boardd.core.sync_policy import NEVER, SyncPolicy

#: What each session may define in any case, in bytes as they are charged.
DEFINITION_FLOOR_BYTES: Final = 64 << 10

#: A session and the number it gave the run.
Holder = tuple[bytes, int]


class KeptSeries(NamedTuple):
    """What is shown of a rank alone (``names.PER_RANK``), and where, relative to the group."""

    per_rank: str
    directory: str


class Process(NamedTuple):
    """Where a session logs from. ``process_id`` is the process's own; empty: not known."""

    hostname: str = ""
    pid: int = 0
    process_id: bytes = b""


#: Of what the daemon itself logs, and of sessions that do not say.
NO_PROCESS: Final = Process()


@dataclass(frozen=True)
class Member:
    """One session's place in a run.

    ``rank`` -1, ``world_size`` 0 and ``epoch`` 0: not known. ``umask``: what new files and
    directories are to lack; None: the daemon's. ``has_siblings``: it was forked or
    unpickled, so others like it may log to the run. ``launch`` is the same for all ranks that
    were started together, and ``attempt`` says how often that was done again.
    ``kept`` is for the daemon that makes the group's points, if it is another. ``purges``: it
    supersedes the members of a lower epoch.
    """

    rank: int
    world_size: int
    reduce: str
    sync: SyncPolicy = NEVER
    umask: int | None = None
    epoch: int = 0
    has_siblings: bool = False
    launch: str = ""
    attempt: int = 0
    process: Process = NO_PROCESS
    kept: KeptSeries | None = None
    purges: bool = False


class Members(dict[Holder, Member]):
    """The members of a run, and the epoch of each session.

    That is the highest of the session's members, also of those that have left: writers of
    one session do not supersede each other. The event loop writes; threads may read
    ``epoch_of``.
    """

    def __init__(self) -> None:
        super().__init__()
        self._epochs: dict[bytes, int] = {}
        self._told_shared: set[bytes] = set()

    def join(self, holder: Holder, member: Member) -> None:
        """Adds ``holder``."""
        self[holder] = member
        session_id, _ = holder
        self._epochs[session_id] = max(self.epoch_of(session_id), member.epoch)

    def leave(self, session_id: bytes) -> None:
        """Removes all of a session."""
        for holder in [holder for holder in self if holder[0] == session_id]:
            del self[holder]
        self._epochs.pop(session_id, None)
        self._told_shared.discard(session_id)

    def epoch_of(self, session_id: bytes) -> int:
        """The epoch of a session, 0 if it is not known."""
        return self._epochs.get(session_id, 0)

    def tell_shared(self, session_id: bytes) -> bool:
        """Notes that a session is told that others log to the run, too; False if it was before."""
        is_new = session_id not in self._told_shared
        self._told_shared.add(session_id)
        return is_new


class LongReduction(NamedTuple):
    """A reduction that takes long: its tag, when it began, and how long it may take in seconds."""

    tag: str
    began: float  #: by ``time.monotonic``
    about_secs: float


@dataclass(eq=False)
class RunProgress:
    """How far the run's writer is. It writes this on the event loop, and status reads it there."""

    #: The name of the live event file; empty before the first.
    file: str = ""
    written_bytes: int = 0
    #: Of them, what an fsync has made durable, and what is in doubt since one failed.
    synced_bytes: int = 0
    doubtful_bytes: int = 0
    #: Records whose events are in ``written_bytes``.
    written: int = 0
    #: Records meant for it that were received and are not written, by ``Reason``.
    rejected: dict[int, int] = field(default_factory=dict)
    #: Records whose step was below an earlier one of their tag.
    steps_backwards: int = 0
    #: Why writing is held up, for people; empty when it is not.
    trouble: str = ""
    #: Of a group that is passed on to another daemon, how far that is; for people.
    forwarding: str = ""
    #: The latest one under way. The thread that makes it sets it.
    reducing: LongReduction | None = None
    #: Of the journal of a group.
    group: GroupProgress = field(default_factory=GroupProgress)
    #: What could not be made durable; flushes tell of it.
    sync_failures: SyncFailures = field(default_factory=SyncFailures)

    def reject(self, reason: int, records: int) -> None:
        """Counts ``records`` as rejected."""
        self.rejected[reason] = self.rejected.get(reason, 0) + records

    def note_synced(self, written_bytes: int) -> None:
        """An fsync was made of the first ``written_bytes``."""
        self.synced_bytes = written_bytes - self.doubtful_bytes

    def note_lost(self, what: str) -> None:
        """All that is not durable may be lost; ``what`` says why, for people."""
        self.doubtful_bytes = self.written_bytes - self.synced_bytes
        self.sync_failures.note(what)


class RunTags:
    """The tags of one run, in the order in which they were first defined."""

    def __init__(self, max_tags: int) -> None:
        self.max_tags = max_tags
        self.names: list[bytes] = []
        #: How ranks merge each, as far as the first definition says.
        self.reductions: list[str] = []
        #: Bytes of the longest.
        self.longest_bytes = 0
        self._indexes: dict[bytes, int] = {}

    def index(self, name: bytes, reduction: str) -> int | None:
        """The place of ``name``, which is added if it is new; None past ``max_tags``."""
        index = self._indexes.get(name)
        if index is None and len(self.names) < self.max_tags:
            index = self._indexes[name] = len(self.names)
            self.reductions.append(reduction)
            self.names.append(name)
            self.longest_bytes = max(self.longest_bytes, len(name))
        return index


@dataclass(eq=False)
class RunState:
    """One run directory: who logs to it and what under. Written on the event loop only.

    Threads may read ``tags`` and ``reductions``, which only grow, at the indexes that they
    were given, and ``refusal``, which is replaced and never changed.
    """

    path: str
    group: str
    filename_suffix: str
    max_series: InitVar[int]
    members: Members = field(default_factory=Members)
    #: Members that still log to it; when the last leaves, its file is closed.
    holders: set[Holder] = field(default_factory=set)
    refusal: Refusal | None = None
    #: Records admitted and not yet written.
    pending: int = 0
    #: Records meant for it that clients dropped, by reason.
    dropped: dict[str, int] = field(default_factory=dict)
    progress: RunProgress = field(default_factory=RunProgress)
    contents: RunContents = field(default_factory=RunContents)
    _tags: RunTags = field(init=False)

    def __post_init__(self, max_series: int) -> None:
        self._tags = RunTags(max_series)
        if self.is_merged:
            self.contents.marks = Marks(MAX_JOURNAL_MARKS, MAX_ENDED_JOURNAL_MARKS)

    @property
    def is_merged(self) -> bool:
        """Whether it is the journal of a group of ranks."""
        return posixpath.basename(self.path) == JOURNAL_DIRECTORY

    @property
    def sync(self) -> SyncPolicy:
        """When it is made durable, for the most demanding of its members."""
        policy = NEVER
        for member in self.members.values():
            if member.sync != policy:
                policy = policy.stricter(member.sync)
        return policy

    @property
    def umask(self) -> int | None:
        """What its new files and directories lack: its first member's; None: the daemon's."""
        return next((member.umask for member in self.members.values()), None)

    @property
    def owner(self) -> bytes | str:
        """Who waits for its calls to the file system: the session of its first member, or it."""
        return next((session_id for session_id, _ in self.members), self.path)

    @property
    def tags(self) -> list[bytes]:
        """The run's tags, each at its index."""
        return self._tags.names

    @property
    def longest_tag_bytes(self) -> int:
        """Bytes of the longest of ``tags``."""
        return self._tags.longest_bytes

    @property
    def reductions(self) -> list[str]:
        """How ranks merge each of ``tags``; empty: as is the rule."""
        return self._tags.reductions

    def is_superseded(self, session_id: bytes) -> bool:
        """Whether a newer writer took the run over from a session. Any thread may ask."""
        return 0 < self.members.epoch_of(session_id) < self.contents.epoch

    def tag_index(self, tag: str, reduction: str = "") -> int:
        """Returns the place of ``tag`` in ``tags``; adds it there if it is new.

        Raises ``RefusedError`` when the run has its budget of tags.
        """
        index = self._tags.index(tag.encode(), reduction)
        if index is None:
            raise RefusedError(
                pb.TOO_MANY_SERIES,
                f"run {self.path}: tag {tag!r} is past the budget of {self._tags.max_tags} "
                "tags per run; use fewer tags or raise --max-series-per-run",
            )
        return index


class Runs:
    """The runs that open sessions have defined."""

    def __init__(self, budgets: Budgets) -> None:
        #: Whether another daemon makes the points of groups, and keeps what is each rank's own.
        self.are_forwarded = False
        self.sessions = SessionPlaces(budgets.max_sessions)
        #: What the definitions of all sessions take, by session.
        self.definitions = Shares(budgets.max_definition_bytes, DEFINITION_FLOOR_BYTES)
        #: Whether the client of a session is gone, as far as is known, though the session is kept.
        self.is_absent: Callable[[bytes], bool] = lambda session_id: False
        self._budgets = budgets
        self._runs: dict[str, RunState] = {}
        #: The runs that each session is a member of.
        self._joined: dict[bytes, set[RunState]] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def values(self) -> list[RunState]:
        """The runs, in the order in which they were first defined."""
        return list(self._runs.values())

    def join(
        self,
        path: str,
        group: str,
        filename_suffix: str,
        holder: Holder,
        member: Member,
        *,
        curve_levels: int = 0,
        is_needed: bool = False,
    ) -> RunState:
        """Returns the run at ``path`` with ``holder`` a member that logs to it.

        A run that was refused to others is tried again for a new member. The
        first member's ``filename_suffix`` and ``curve_levels`` count; see ``RunContents``.

        Raises ``RefusedError`` when there are too many runs, or too many of one peer, see
        ``has_place``; unless one that was taken ``is_needed`` for: a group's points.
        """
        run = self._runs.get(path)
        if run is None:
            session_id, _ = holder
            if not is_needed and not self._has_place(session_id):
                raise RefusedError(
                    pb.TOO_MANY_RUNS,
                    f"run {path}: the daemon has its budget of {self._budgets.max_runs} open runs, "
                    "or all of it that one client may have; close writers or raise --max-runs",
                )
            run = RunState(path, group, filename_suffix, self._budgets.max_series_per_run)
            run.contents.curve_levels = curve_levels
            self._runs[path] = run
        if holder not in run.members:
            run.refusal = None
            run.members.join(holder, member)
            session_id, _ = holder
            self._joined.setdefault(session_id, set()).add(run)
            run.progress.sync_failures.join(session_id)
        run.holders.add(holder)
        return run

    def _has_place(self, session_id: bytes) -> bool:
        places = self._budgets.max_runs
        if has_place(places, len(self._runs), places):
            return True
        # Of runs that were ended and are written, each session keeps few.
        taken = sum(_is_open(run) for run in self._runs.values())
        sharing = self.sessions.sharing(self.sessions.sharer(session_id)) | {session_id}
        own = set().union(*(self._joined.get(key, ()) for key in sharing))
        return has_place(places, taken, sum(map(_is_open, own)))

    def leave_run(self, run: RunState, holder: Holder) -> None:
        """Ends one membership; forgets the run if it has no other."""
        run.members.pop(holder, None)
        run.holders.discard(holder)
        session_id, _ = holder
        if all(other != session_id for other, _ in run.members):
            run.progress.sync_failures.leave(session_id)
            joined = self._joined.get(session_id, set())
            joined.discard(run)
            if not joined:
                self._joined.pop(session_id, None)
        if not run.members and self._runs.get(run.path) is run:
            del self._runs[run.path]

    def leave(self, session_id: bytes) -> None:
        """Ends the membership of ``session_id`` everywhere; forgets runs without members."""
        self.definitions.leave(session_id)
        self.sessions.leave(session_id)
        self._joined.pop(session_id, None)
        for run in self.values():
            run.members.leave(session_id)
            run.progress.sync_failures.leave(session_id)
            run.holders -= {holder for holder in run.holders if holder[0] == session_id}
            if not run.members:
                del self._runs[run.path]


def _is_open(run: RunState) -> bool:
    """Whether it is logged to, or not yet written."""
    return bool(run.holders or run.pending)
