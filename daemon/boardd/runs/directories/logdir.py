"""Where runs may be written, and the directory of one run.

Paths come from clients, so nothing outside the configured roots is ever opened
or made. A path is first resolved, symlinks included, and must then lie beneath
a root. Next it is walked from the root one component at a time, each opened
relative to the one before with ``O_NOFOLLOW``. So a link that appears in the path
after the check is met as a link and refused.

No more permission is asked for than the way needs: the directories above the run's
are only searched, never read, as when a path is opened whole.

A run's directory is held under an exclusive ``flock``: one daemon writes a run.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos import remote_logdir
from boardd_protos.tags import MAX_NAME_BYTES

from boardd.core.durations import Timings
from boardd.core.refusals import RefusedError
from boardd.runs.directories import file_mode
from boardd.runs.directories.disk_full import FULL, PASSING, DiskFullError
from boardd.runs.directories.file_mode import DIRECTORY_MODE
from boardd.runs.directories.open_segments import OpenSegments
from boardd.runs.directories.run_lock import lock_directory
from boardd.runs.directories.spool import Spool
from boardd.runs.directories.sync_directory import sync_directory, sync_parents

#: Linux's PATH_MAX, the closing NUL left out.
PATH_BYTES_MAX: Final = 4095

_DIRECTORY: Final = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: To list and lock it.
_READ: Final = os.O_RDONLY | _DIRECTORY
#: To go on from it.
_WALK: Final = os.O_PATH | _DIRECTORY

#: A root that is above everything.
_TOP: Final = Path("/")
#: Of an absolute path, which needs none.
_NO_PARENT: Final = -1

#: There is no directory of that name, or none that its server still knows.
_GONE: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ESTALE})


class RunDirectory:
    """The open and locked directory of one run. Made by ``Roots.open_run``."""

    def __init__(
        self,
        path: Path,
        fd: int,
        new_levels: int,
        umask: int | None,
        timings: Timings | None = None,
        segments: OpenSegments | None = None,
        *,
        is_locked: bool = True,
    ) -> None:
        """Takes over ``fd``.

        ``new_levels``: so many directories, the run's own first and then those above it,
        were made for it. ``umask``: what files and directories in it lack; None: what the
        umask of the process says. ``timings`` counts how long writes and syncs of its files
        take. ``segments``: those of a directory whose files are shipped. ``is_locked``: not
        if the file system has no locks.
        """
        self.is_locked = is_locked
        self.path = path  #: with symlinks resolved
        self.umask = umask
        self.timings = timings or Timings()
        self.segments = segments
        self._fd = fd
        self._new_levels = new_levels

    @property
    def fd(self) -> int:
        """Descriptor of the directory; -1 once closed."""
        return self._fd

    def is_current(self) -> bool:
        """Whether ``path`` still leads to this directory, not removed or replaced.

        Raises ``OSError`` if the operating system does not say, for want of permission
        for instance.
        """
        if self._fd < 0:
            return False
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self.path, follow_symlinks=False))
        except OSError as error:
            if error.errno in _GONE:
                return False
            raise

    def left(self, file: Path | None) -> None:
        """Nothing more is written to ``file``, if there was one."""
        if file is not None and self.segments is not None:
            self.segments.left(file.name)

    def check_room(self) -> None:
        """Raises ``DiskFullError`` while too much of what is written here waits for its store."""
        if self.segments is not None:
            self.segments.check_room()

    def sync(self) -> None:
        """Makes its entries durable and, the first time, its own entry in its parents.

        Raises ``OSError`` when the operating system could not.
        """
        levels, self._new_levels = self._new_levels, 0
        sync_parents(self._fd, levels)
        sync_directory(self._fd)

    def close(self) -> None:
        """Releases the lock, also if the operating system has an error to tell. May be repeated."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            if self.segments is not None:
                self.segments.end()
            with contextlib.suppress(OSError):
                os.close(fd)

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Roots:
    """The directories beneath which runs may be written.

    ``paths``: at least one, absolute or a URL; relative logdirs lie in the first. A URL is
    written to ``spool``, in which a run may be only if one of them is above its URL, or is
    ``/``, which is above all of them that ``remote_logdir.ANY`` is above. Without a spool URLs
    are refused.
    A root that does not exist yet is made when a run is first opened in it.
    ``umask``: what new files and directories lack, unless a run says otherwise; None: what
    the umask of the process says. ``left_alone``: absolute directories in which no run may
    be, although they are beneath a root; a root that lies in one counts more. ``timings``
    counts how long writes and syncs in all of them take.

    Raises ``ValueError`` without a path, on a relative one, and on a URL without a spool.
    """

    def __init__(
        self,
        paths: Sequence[str | os.PathLike[str]],
        umask: int | None = None,
        left_alone: Sequence[Path] = (),
        timings: Timings | None = None,
        spool: Spool | None = None,
    ) -> None:
        if not paths:
            raise ValueError("no logdir root: at least one directory is needed")
        self.spool = spool
        roots = []
        for given in paths:
            path = os.fspath(given)
            if spool is not None and remote_logdir.is_remote(path):
                path = os.fspath(spool.path_of(remote_logdir.checked(path)))
            if not os.path.isabs(path):
                raise ValueError(f"logdir root {path!r} is relative: give an absolute path")
            roots.append(_resolved(path))
        self.paths: tuple[Path, ...] = tuple(roots)
        self.timings = timings or Timings()
        self._umask = umask
        #: As they are named, and where links in their names lead.
        self._left_alone = {*left_alone, *(_resolved(os.fspath(path)) for path in left_alone)}

    def resolve(self, logdir: str, *parts: str) -> Path:
        """The directory that ``open_run`` would open, with symlinks resolved.

        ``logdir`` is absolute or relative to the first root; ``parts`` are
        relative paths beneath it and may be empty. Changes nothing on disk.

        Raises ``RefusedError``: INVALID_NAME for an empty logdir, a NUL, text
        that cannot be a file name, an absolute part, or a name or path too long for
        the system; OUTSIDE_ROOTS for ``..`` and for anything that is
        not a root or beneath one, or is left alone.
        """
        return self._locate(logdir, parts)[1]

    def shown(self, path: str | os.PathLike[str]) -> str:
        """``path``, which was resolved, as its user knows it: of the spool, the URL."""
        if self.spool is not None and path != "" and self.spool.holds(Path(path)):
            return self.spool.url_of(Path(path))
        return os.fspath(path)

    def relative(self, path: str) -> str:
        """Returns ``path``, which was resolved, relative to the root that it lies in.

        Raises ``ValueError`` if it lies in none.
        """
        for root in self.paths:
            if Path(path).is_relative_to(root):
                return os.fspath(Path(path).relative_to(root))
        raise ValueError(f"{path} is beneath no logdir root")

    def as_written(self, logdir: str) -> Path:
        """The same, without a look at the disk: links are not resolved, and roots not minded.

        Raises ``RefusedError`` as ``resolve`` does for names that cannot be.
        """
        return Path(self._asked(logdir, ()))

    def open_run(self, logdir: str, *parts: str, umask: int | None = None) -> RunDirectory:
        """Opens, makes if need be (mode 0777 less ``umask``) and locks a run's directory.

        Takes and refuses what ``resolve`` does. Raises ``RefusedError`` also with
        NOT_A_DIRECTORY if something else is in the way, and UNWRITABLE if the operating
        system refuses.

        Raises ``DiskFullError`` if there is no room for a new directory,
        ``RunLockedError`` while the run is open elsewhere, here or in another daemon,
        ``SpoolBusyError`` while another daemon has the spool, and
        ``OSError`` if descriptors or memory ran out or the disk failed: these may pass.
        """
        root, path = self._locate(logdir, parts)
        mask = self._umask if umask is None else umask
        if self.spool is None or not self.spool.holds(path):
            return self._open_run(root, path, mask, None)
        self.spool.prepare(path)
        with self.spool.changing:
            return self._open_run(root, path, mask, self.spool)

    def _open_run(
        self, root: Path, path: Path, mask: int | None, spool: Spool | None
    ) -> RunDirectory:
        """As ``open_run``; ``spool``: in which ``path`` lies."""
        with _refusing(root):
            if not root.is_dir():
                _make_root(root, mask)
            fd = os.open(root, _WALK)
        at = root
        new_levels = 0
        try:
            for name in path.relative_to(root).parts:
                at = at / name
                with _refusing(at, fd, name):
                    child, is_new = open_or_make(name, fd, mask, flags=_WALK)
                os.close(fd)
                fd = child
                if is_new or new_levels:
                    new_levels += 1
            with _refusing(path):
                run = os.open(".", _READ, dir_fd=fd)
        finally:
            os.close(fd)
        try:
            _check_writable(path, run)
            is_locked = lock_directory(path, run)
            segments = None if spool is None else spool.opened(path)
        except BaseException:
            os.close(run)
            raise
        return RunDirectory(
            path, run, new_levels, mask, self.timings, segments, is_locked=is_locked
        )

    def _locate(self, logdir: str, parts: Sequence[str]) -> tuple[Path, Path]:
        """The root and the resolved path of a run."""
        asked = self._asked(logdir, parts)
        try:
            path = _resolved(asked)
        except OSError as error:
            # realpath reads a link after it saw that it is one; it may be gone by then.
            raise RefusedError(
                pb.OUTSIDE_ROOTS, f"logdir {asked!r} changed while it was resolved"
            ) from error
        if len(os.fsencode(path)) > PATH_BYTES_MAX:
            raise RefusedError(
                pb.INVALID_NAME,
                f"run directory {_shortened(str(path))!r} is longer than {PATH_BYTES_MAX} bytes",
            )
        for root in self.paths:
            if path.is_relative_to(root) and self._may_ship(root, path):
                self._check_left_alone(asked, root, path)
                if self.spool is not None and self.spool.holds(path):
                    self.spool.check(self.spool.url_of(path))
                return root, path
        listed = ", ".join(map(self.shown, self.paths))
        asked = self.shown(asked)
        leads = "" if self.shown(path) == asked else f" leads to {str(path)!r}, which"
        raise RefusedError(
            pb.OUTSIDE_ROOTS,
            f"logdir {asked!r}{leads} is not beneath a logdir root of the daemon ({listed})",
        )

    def _may_ship(self, root: Path, path: Path) -> bool:
        """Whether what lies at ``path`` may leave this host, if it is in the spool."""
        if self.spool is None or not self.spool.holds(path):
            return True
        if root == _TOP:
            return remote_logdir.lies_beneath(self.spool.url_of(path), (remote_logdir.ANY,))
        return self.spool.holds(root)

    def _check_left_alone(self, asked: str, root: Path, path: Path) -> None:
        for directory in self._left_alone:
            if path.is_relative_to(directory) and not root.is_relative_to(directory):
                raise RefusedError(
                    pb.OUTSIDE_ROOTS,
                    f"logdir {asked!r} is in {directory}, which the daemon leaves alone; choose "
                    f"another, or set the daemon's BOARDD_LOGDIR_ROOT to {path} and restart it",
                )

    def _asked(self, logdir: str, parts: Sequence[str]) -> str:
        """The absolute path of a run, checked as text."""
        if not logdir:
            raise RefusedError(pb.INVALID_NAME, "logdir is empty: name a directory")
        logdir = self._local(logdir)
        for part in parts:
            if part.startswith("/"):
                raise RefusedError(
                    pb.INVALID_NAME, f"run {part!r} begins with a slash: give a relative name"
                )
        for text in (logdir, *parts):
            _check_names(text)
        return os.path.join(self.paths[0], logdir, *filter(None, parts))

    def _local(self, logdir: str) -> str:
        """Where a logdir is written: that of a URL is in the spool."""
        try:
            checked = remote_logdir.checked(logdir)
        except ValueError as error:
            raise RefusedError(pb.INVALID_NAME, str(error)) from error
        if not remote_logdir.is_remote(checked):
            return checked
        if self.spool is None:
            raise RefusedError(pb.UNSUPPORTED, f"logdir {checked!r}: only local directories here")
        return os.fspath(self.spool.path_of(checked))


def _resolved(path: str) -> Path:
    resolved = os.path.realpath(path)
    # POSIX lets a path begin with two slashes and mean something else; Linux does not.
    return Path("/" + resolved.lstrip("/"))


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:60]}...{text[-15:]}"


def _check_names(text: str) -> None:
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise RefusedError(pb.INVALID_NAME, f"{_shortened(text)!r} is no file name") from error
    if b"\0" in encoded:
        raise RefusedError(pb.INVALID_NAME, f"{_shortened(text)!r} contains a NUL")
    names = encoded.split(b"/")
    if b".." in names:
        raise RefusedError(
            pb.OUTSIDE_ROOTS, f"{_shortened(text)!r} contains '..': name the directory itself"
        )
    longest = max(map(len, names))
    if longest > MAX_NAME_BYTES:
        raise RefusedError(
            pb.INVALID_NAME,
            f"a name in {_shortened(text)!r} has {longest} bytes, "
            f"at most {MAX_NAME_BYTES} are possible",
        )


def open_or_make(name: str, parent: int, umask: int | None, flags: int = _READ) -> tuple[int, bool]:
    """Opens the directory ``name`` in ``parent``. Returns its descriptor, and whether it is new.

    A new one has mode 0777 less ``umask``, see ``file_mode``. Raises ``OSError`` if something
    else is in the way, such as a link.
    """
    try:
        return os.open(name, flags, dir_fd=parent), False
    except FileNotFoundError:
        is_new = True
        try:
            os.mkdir(name, file_mode.mode(DIRECTORY_MODE, umask), dir_fd=parent)
        except FileExistsError:
            is_new = False
        fd = os.open(name, flags, dir_fd=parent)
        try:
            if is_new:
                file_mode.complete(fd, DIRECTORY_MODE, umask)
        except BaseException:
            os.close(fd)
            raise
        return fd, is_new


def _make_root(root: Path, umask: int | None) -> None:
    """Makes a root and what is missing above it, which was configured and is to be trusted."""
    for path in (*reversed(root.parents), root):
        if not path.is_dir():
            fd, _ = open_or_make(os.fspath(path), _NO_PARENT, umask, _WALK)
            os.close(fd)


@contextlib.contextmanager
def _refusing(path: Path, parent: int | None = None, name: str = "") -> Iterator[None]:
    """Turns an ``OSError`` from opening or making ``path`` into the error to raise."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFullError(error.errno, error.strerror, str(path)) from error
        if error.errno in PASSING:
            raise
        if error.errno == errno.ENAMETOOLONG:
            raise RefusedError(pb.INVALID_NAME, f"{path}: {error.strerror}") from error
        if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EEXIST):
            if parent is not None and is_link(name, parent):
                raise RefusedError(
                    pb.OUTSIDE_ROOTS, f"{path}: a symbolic link that leads nowhere or just appeared"
                ) from error
            raise RefusedError(pb.NOT_A_DIRECTORY, f"{path}: is not a directory") from error
        raise RefusedError(
            pb.UNWRITABLE,
            f"{path}: cannot be opened or made: {error.strerror}; "
            "let the daemon's user write there or choose another logdir",
        ) from error


def is_link(name: str, parent: int) -> bool:
    """Whether ``name`` in the directory ``parent`` is a symbolic link."""
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except OSError:
        return False


def _check_writable(path: Path, fd: int) -> None:
    if os.fstatvfs(fd).f_flag & os.ST_RDONLY:
        code = errno.EROFS
    elif not os.access(".", os.W_OK | os.X_OK, dir_fd=fd, effective_ids=True):
        code = errno.EACCES
    else:
        return
    raise RefusedError(
        pb.UNWRITABLE,
        f"{path}: {os.strerror(code)}; let the daemon's user write there or choose another logdir",
    )
