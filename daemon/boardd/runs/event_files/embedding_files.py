"""Writes an embedding's side files beneath a run's directory.

The config never holds an entry whose files are not all there and whole, also
after a kill or a power cut between any two steps:

1. If the folder was written before, its entry is taken out of the config.
2. Each file is written under a temporary name, synced, and renamed.
3. Then the config with the new entry replaces the old one, in the same way.

Every step is durable before the next begins, and each may be repeated: after
an ``OSError``, call the whole again.

As in ``boardd.runs.directories.logdir`` everything is opened relative to the run's directory,
and no symbolic link is followed.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import time
from collections.abc import Iterator, Sequence
from typing import Final

from boardd_protos import boardd_pb2 as pb

from boardd.core.refusals import RefusedError
from boardd.core.runs.names import segments
from boardd.events import embedding
from boardd.events.embedding import EmbeddingFiles
from boardd.events.projector_pb2 import ProjectorConfig
from boardd.runs.directories import file_mode
from boardd.runs.directories.disk_full import FULL, DiskFullError
from boardd.runs.directories.file_mode import FILE_MODE
from boardd.runs.directories.logdir import (
    RunDirectory,
    is_link,
    open_or_make,
)
from boardd.runs.directories.sync_directory import sync_directory
from boardd.runs.event_files.event_file_names import EVENT_FILE_MARK

__all__ = ["EmbeddingFiles", "write_embedding"]

_logger = logging.getLogger(__name__)

#: Of the file that names all others.
CONFIG_NAME: Final = embedding.CONFIG_NAME
#: A config that cannot be read gets this name, beside the new one.
UNREADABLE_CONFIG_NAME: Final = f"{embedding.CONFIG_NAME}.unreadable"

#: A larger config is refused: no run has that many embeddings.
_CONFIG_BYTES_MAX: Final = 64 << 20

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: Not to wait for the other end of a FIFO.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: Something is in the way that trying again does not remove.
_IN_THE_WAY: Final = frozenset(
    {errno.ENOTDIR, errno.ELOOP, errno.EEXIST, errno.EISDIR, errno.ENOTEMPTY}
)
_FORBIDDEN: Final = frozenset({errno.EACCES, errno.EPERM})


def write_embedding(directory: RunDirectory, files: EmbeddingFiles) -> int:
    """Writes ``files``, and their entry in the run's config in place of the folder's earlier one.

    Returns the bytes written. Blocks on the disk; for one thread at a time for a
    run. Entries of other embeddings stay, unless their files have been removed. A
    config that cannot be read is put aside, under another name.

    Raises ``RefusedError``: INVALID_NAME for a folder that cannot be a
    directory's name or that TensorBoard would take for an event file,
    OUTSIDE_ROOTS for ``..`` and for a symbolic link in the way, NOT_A_DIRECTORY
    if something else is in the way, UNWRITABLE if the operating system refuses.
    Raises ``DiskFullError`` if there is no room, and ``OSError`` for other trouble
    that may pass. After those two, call it again.
    """
    parts = _folder_parts(files.folder)
    folder = "/".join(parts)
    contents = files.contents()
    config, is_changed = _read_config(directory, folder)
    if is_changed:
        _write_config(directory, config)
    else:
        # The entry may have been taken out by a call that failed before its sync.
        directory.sync()
    written_bytes = 0
    with _open_folder(directory, parts) as opened:
        fd = opened[-1]
        for name, content in contents.items():
            written_bytes += _replace(directory, fd, f"{folder}/{name}", content)
        for name in embedding.FILE_NAMES:
            if name not in contents:
                with _refusing(directory, f"{folder}/{name}", fd):
                    _remove(name, fd)
        # All of them: one may have been made by a call that failed before its sync.
        for fd in reversed(opened):
            sync_directory(fd)
        directory.sync()
    config.embeddings.append(embedding.config_entry(files, folder, contents))
    written_bytes += _write_config(directory, config)
    if directory.segments is not None:
        directory.segments.wrote_side_files(written_bytes)
    return written_bytes


def _folder_parts(folder: str) -> list[str]:
    parts = segments(folder, "embedding")
    if not parts:
        raise RefusedError(pb.INVALID_NAME, f"embedding {folder!r} is no directory's name")
    for part in parts:
        # TensorBoard would open the directory as a file and fail on the run.
        if EVENT_FILE_MARK in part:
            raise RefusedError(
                pb.INVALID_NAME,
                f"embedding {folder!r}: names with {EVENT_FILE_MARK!r} are those of event files",
            )
    if parts[0].startswith((embedding.CONFIG_NAME, f".{embedding.CONFIG_NAME}", "~")):
        # TensorBoard takes ~ for a home directory.
        raise RefusedError(pb.INVALID_NAME, f"embedding {folder!r} cannot be the name of a folder")
    return parts


# The config --------------------------------------------------------------------------


def _read_config(directory: RunDirectory, folder: str) -> tuple[ProjectorConfig, bool]:
    """The run's config without entries of ``folder``; whether it differs from what is on disk."""
    text = _read_config_text(directory)
    if text is None:
        return ProjectorConfig(), False
    try:
        config = embedding.parse_config(text)
    except embedding.ConfigError as error:
        _logger.warning(
            "%s: %s; TensorBoard could not read it, so it is now %s",
            directory.path / embedding.CONFIG_NAME,
            error,
            UNREADABLE_CONFIG_NAME,
        )
        with _refusing(directory, embedding.CONFIG_NAME, directory.fd):
            os.replace(
                embedding.CONFIG_NAME,
                UNREADABLE_CONFIG_NAME,
                src_dir_fd=directory.fd,
                dst_dir_fd=directory.fd,
            )
        return ProjectorConfig(), False
    kept = []
    for entry in config.embeddings:
        missing = [path for path in embedding.entry_paths(entry) if _is_missing(directory, path)]
        if missing:
            _logger.warning(
                "%s: embedding %r goes: %s is not there",
                directory.path / embedding.CONFIG_NAME,
                entry.tensor_name,
                missing[0],
            )
        elif not embedding.is_of_folder(entry, folder):
            kept.append(entry)
    is_changed = len(kept) < len(config.embeddings)
    if is_changed:
        rest = ProjectorConfig()
        rest.CopyFrom(config)
        del rest.embeddings[:]
        rest.embeddings.extend(kept)
        config = rest
    return config, is_changed


def _read_config_text(directory: RunDirectory) -> bytes | None:
    with _refusing(directory, embedding.CONFIG_NAME, directory.fd):
        try:
            fd = os.open(embedding.CONFIG_NAME, _READ, dir_fd=directory.fd)
        except FileNotFoundError:
            return None
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _CONFIG_BYTES_MAX:
                raise RefusedError(
                    pb.NOT_A_DIRECTORY,
                    f"{directory.path / embedding.CONFIG_NAME} is no projector config; remove it",
                )
            return file.read()


def _is_missing(directory: RunDirectory, path: str) -> bool:
    if path.startswith(("/", "~")) or ".." in path.split("/"):
        return False  # another program's, outside of the run
    try:
        return not stat.S_ISREG(os.stat(path, dir_fd=directory.fd).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES):
            return True
        raise


def _write_config(directory: RunDirectory, config: ProjectorConfig) -> int:
    text = embedding.format_config(config)
    size_bytes = _replace(directory, directory.fd, embedding.CONFIG_NAME, text)
    directory.sync()
    return size_bytes


# Files -------------------------------------------------------------------------------


@contextlib.contextmanager
def _open_folder(directory: RunDirectory, parts: Sequence[str]) -> Iterator[list[int]]:
    """Yields the descriptors of the folder, the last, and of those it lies in, outermost first."""
    opened: list[int] = []
    with contextlib.ExitStack() as stack:
        for depth, part in enumerate(parts, 1):
            parent = opened[-1] if opened else directory.fd
            with _refusing(directory, "/".join(parts[:depth]), parent):
                fd, _ = open_or_make(part, parent, directory.umask)
            stack.callback(os.close, fd)
            opened.append(fd)
        yield opened


def _replace(directory: RunDirectory, fd: int, path: str, content: bytes | memoryview) -> int:
    """Puts ``content`` in the place of the file ``path``, which lies in the directory ``fd``."""
    name = path.rpartition("/")[2]
    temporary = f".{name}.partial"
    with _refusing(directory, path, fd):
        _remove(temporary, fd)  # of a daemon that was killed
        mode = file_mode.mode(FILE_MODE, directory.umask)
        file = os.open(temporary, _CREATE, mode, dir_fd=fd)
        try:
            try:
                file_mode.complete(file, FILE_MODE, directory.umask)
                _write(file, content)
                with directory.timings.sync.measured(time.perf_counter):
                    os.fsync(file)
            finally:
                os.close(file)
            os.replace(temporary, name, src_dir_fd=fd, dst_dir_fd=fd)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=fd)
            raise
    return memoryview(content).nbytes


def _write(file: int, content: bytes | memoryview) -> None:
    rest = memoryview(content).cast("B")
    while rest:
        written = os.write(file, rest)
        if written == 0:
            raise OSError(errno.EIO, "write took nothing")
        rest = rest[written:]


def _remove(name: str, fd: int) -> None:
    # What is there and no file is not ours; it shows when it is in the way.
    with contextlib.suppress(FileNotFoundError, IsADirectoryError):
        os.unlink(name, dir_fd=fd)


@contextlib.contextmanager
def _refusing(directory: RunDirectory, path: str, parent: int) -> Iterator[None]:
    """Turns an ``OSError`` at ``path``, which lies in the directory ``parent``, into ours."""
    try:
        yield
    except OSError as error:
        full_path = str(directory.path / path)
        if error.errno in FULL:
            raise DiskFullError(error.errno, error.strerror, full_path) from error
        if error.errno == errno.ENAMETOOLONG:
            raise RefusedError(pb.INVALID_NAME, f"{full_path}: {error.strerror}") from error
        if error.errno in _FORBIDDEN:
            raise RefusedError(
                pb.UNWRITABLE,
                f"{full_path}: {error.strerror}; let the daemon's user write there",
            ) from error
        if error.errno not in _IN_THE_WAY:
            raise OSError(error.errno, error.strerror, full_path) from error
        if is_link(path.rpartition("/")[2], parent):
            raise RefusedError(
                pb.OUTSIDE_ROOTS, f"{full_path}: a symbolic link; links are not followed"
            ) from error
        raise RefusedError(
            pb.NOT_A_DIRECTORY,
            f"{full_path}: something else has that name ({error.strerror}); remove it or "
            "choose another tag",
        ) from error
