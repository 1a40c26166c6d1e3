"""Where runs may be written, and the directory of one run.

Paths come from clients, so nothing outside the configured roots is ever opened
or made. A path is first resolved, symlinks included, and must then lie beneath
a root. Next it is walked from the root one component at a time, each opened
relative to the one before with ``O_NOFOLLOW``. So a link that appears in the path
after the check is met as a link and refused.

A run's directory is held under an exclusive ``flock``: one daemon writes a run.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from boardd_protos import boardd_pb2 as pb
from boardd_protos.tags import MAX_NAME_BYTES

from boardd.core.refusals import RefusedError

_logger = logging.getLogger(__name__)

#: Linux's PATH_MAX, the closing NUL left out.
PATH_BYTES_MAX: Final = 4095

_OPEN_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

#: The disk, or the owner's share of it, is full: freeing some of it helps.
FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
#: Trouble that may pass: out of descriptors or memory, a disk or server that fails now.
_PASSING: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE})
_NO_FLOCK: Final = frozenset({errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS})
#: Filesystems that cannot fsync a directory say so with these.
_NO_DIRECTORY_SYNC: Final = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS})

_warned_no_flock = False


class DiskFullError(OSError):
    """The disk or the quota is full. Try again when some space is free."""


class RunDirectory:
    """The open and locked directory of one run. Made by ``Roots.open_run``."""

    def __init__(self, path: Path, fd: int, new_in: Sequence[int]) -> None:
        """Takes over ``fd`` and ``new_in``, the directories that got a new entry."""
        self.path = path  #: with symlinks resolved
        self._fd = fd
        self._new_in = list(new_in)

    @property
    def fd(self) -> int:
        """Descriptor of the directory; -1 once closed."""
        return self._fd

    def is_current(self) -> bool:
        """Whether ``path`` still leads to this directory, not removed or replaced.

        Raises ``OSError`` if that cannot be told: no permission, a stale handle.
        """
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self.path, follow_symlinks=False))
        except (FileNotFoundError, NotADirectoryError):
            return False

    def sync(self) -> None:
        """Makes its entries durable and, the first time, its own entry in its parents.

        Raises ``OSError`` when the operating system could not.
        """
        while self._new_in:
            parent = self._new_in.pop()
            try:
                sync_directory(parent)
            finally:
                os.close(parent)
        sync_directory(self._fd)

    def close(self) -> None:
        """Releases the lock. May be called again."""
        fd, self._fd = self._fd, -1
        for descriptor in (*self._new_in, fd):
            if descriptor >= 0:
                os.close(descriptor)
        self._new_in.clear()

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

    ``paths``: at least one, absolute; relative logdirs lie in the first.
    A root that does not exist yet is made when a run is first opened in it.

    Raises ``ValueError`` without a path and on a relative one.
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        if not paths:
            raise ValueError("no logdir root: at least one directory is needed")
        roots = []
        for given in paths:
            path = os.fspath(given)
            if not os.path.isabs(path):
                raise ValueError(f"logdir root {path!r} is relative: give an absolute path")
            roots.append(_resolved(path))
        self.paths: tuple[Path, ...] = tuple(roots)

    def resolve(self, logdir: str, *parts: str) -> Path:
        """The directory that ``open_run`` would open, with symlinks resolved.

        ``logdir`` is absolute or relative to the first root; ``parts`` are
        relative paths beneath it and may be empty. Changes nothing on disk.

        Raises ``RefusedError``: INVALID_NAME for an empty logdir, a NUL, text
        that cannot be a file name, an absolute part, or a name or path too long for
        the system; OUTSIDE_ROOTS for ``..`` and for anything that is
        not a root or beneath one.
        """
        return self._locate(logdir, parts)[1]

    def open_run(self, logdir: str, *parts: str) -> RunDirectory:
        """Opens, makes if need be (mode 0777 less the umask) and locks a run's directory.

        Takes and refuses what ``resolve`` does. Raises ``RefusedError`` also with
        NOT_A_DIRECTORY if something else is in the way, UNWRITABLE if the operating
        system refuses, and RUN_LOCKED if the run is open already, here or in another
        daemon.

        Raises ``DiskFullError`` if there is no room for a new directory, and
        ``OSError`` if descriptors or memory ran out or the disk failed: these may pass.
        """
        root, path = self._locate(logdir, parts)
        opened: list[int] = []
        new_in = []
        try:
            with _refusing(root):
                root.mkdir(parents=True, exist_ok=True)
                opened.append(os.open(root, _OPEN_DIRECTORY))
            at = root
            for name in path.relative_to(root).parts:
                at = at / name
                with _refusing(at, opened[-1], name):
                    fd, is_new = open_or_make(name, opened[-1])
                if is_new:
                    new_in.append(opened[-1])
                opened.append(fd)
            _check_writable(path, opened[-1])
            _lock(path, opened[-1])
        except BaseException:
            for fd in opened:
                os.close(fd)
            raise
        *parents, run = opened
        for fd in parents:
            if fd not in new_in:
                os.close(fd)
        return RunDirectory(path, run, new_in)

    def _locate(self, logdir: str, parts: Sequence[str]) -> tuple[Path, Path]:
        """The root and the resolved path of a run."""
        if not logdir:
            raise RefusedError(pb.INVALID_NAME, "logdir is empty: name a directory")
        for part in parts:
            if part.startswith("/"):
                raise RefusedError(
                    pb.INVALID_NAME, f"run {part!r} begins with a slash: give a relative name"
                )
        for text in (logdir, *parts):
            _check_names(text)
        asked = os.path.join(self.paths[0], logdir, *filter(None, parts))
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
            if path.is_relative_to(root):
                return root, path
        listed = ", ".join(map(str, self.paths))
        leads = "" if str(path) == asked else f" leads to {str(path)!r}, which"
        raise RefusedError(
            pb.OUTSIDE_ROOTS,
            f"logdir {asked!r}{leads} is not beneath a logdir root of the daemon ({listed})",
        )


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


def open_or_make(name: str, parent: int) -> tuple[int, bool]:
    """Opens the directory ``name`` in ``parent``. Returns its descriptor, and whether it is new.

    Raises ``OSError`` if something else is in the way, such as a link.
    """
    try:
        return os.open(name, _OPEN_DIRECTORY, dir_fd=parent), False
    except FileNotFoundError:
        is_new = True
        try:
            os.mkdir(name, 0o777, dir_fd=parent)
        except FileExistsError:
            is_new = False
        return os.open(name, _OPEN_DIRECTORY, dir_fd=parent), is_new


@contextlib.contextmanager
def _refusing(path: Path, parent: int | None = None, name: str = "") -> Iterator[None]:
    """Turns an ``OSError`` from opening or making ``path`` into the error to raise."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise DiskFullError(error.errno, error.strerror, str(path)) from error
        if error.errno in _PASSING:
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


def _lock(path: Path, fd: int) -> None:
    global _warned_no_flock
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RefusedError(
            pb.RUN_LOCKED,
            f"{path}: another daemon is writing this run; stop it or choose another run",
        ) from error
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
        if not _warned_no_flock:
            _warned_no_flock = True
            _logger.warning(
                "%s: this filesystem has no locks (%s); see to it that no other daemon "
                "writes the same runs",
                path,
                error.strerror,
            )


def sync_directory(fd: int) -> None:
    """Makes a directory's entries durable, if its filesystem can do that.

    Raises ``OSError`` when the operating system could not.
    """
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_SYNC:
            raise
