"""Finds the logs of clients that died without a daemon, or before they were heard of.

Such a log is a file that nobody locks; ``boardd_protos.log_directory`` says where. Its
session begins with its client dead, and what the log holds is written. Tensors died with
their client; their records are rejected as lost. A log of which nothing could be written
here is left for a daemon with other roots.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from boardd_protos.local_socket import DirectoryRefusedError
from boardd_protos.log_directory import (
    SET_ASIDE_SUFFIX,
    check_log_directory,
    remove_forgotten,
    try_lock,
)
from boardd_protos.shared import SESSION_ID_BYTES

from boardd.core.errors import CapacityError, ProtocolError
from boardd.core.refusals import RefusedError
from boardd.runs.writing.turn import Turn
from boardd.sessions.client_log import ClientLog, LogVersionRefusedError
from boardd.sessions.foreign_logs import is_foreign
from boardd.sessions.sessions import Sessions

_logger = logging.getLogger(__name__)

LOOK_SECS: Final = 1.0
#: Files looked at in one directory at a time.
_MAX_FILES: Final = 4096
#: Errors of opening what is no file of ours. Others come and go with the system's means.
_NO_FILE_OF_OURS: Final = (errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EACCES, errno.EPERM)
#: Files that are no logs, kept in one directory for whoever wants to know; the oldest go.
MAX_SET_ASIDE: Final = 16


class Adoption:
    """Looks into ``directories``; for the event loop's thread only."""

    def __init__(self, sessions: Sessions, directories: Sequence[Path]) -> None:
        self._sessions = sessions
        self._directories = directories
        self._told: set[str] = set()
        self._foreign: set[Path] = set()  # logs that were left, and are there

    async def run(self) -> None:
        """Looks about each second, until it is cancelled."""
        removed = remove_forgotten(self._directories, time.time())
        if removed:
            _logger.warning(
                "%d logs that no daemon had looked for in days are removed, %s first",
                len(removed),
                removed[0],
            )
        while not self._sessions.registry.is_draining:
            await self.look()
            await asyncio.sleep(LOOK_SECS)

    async def look(self) -> None:
        """Adopts every log that is there and that nobody locks."""
        turn = Turn()
        there: set[Path] = set()
        for directory in self._directories:
            try:
                for path in self._files_of(directory):
                    there.add(path)
                    await self._look_at_one(path)
                    await turn.pause()
            except FileNotFoundError:  # no client has needed it
                pass
            except (OSError, DirectoryRefusedError) as error:
                self._tell(str(directory), f"logs in {directory} are not looked for: {error}")
            except Exception:  # a defect, and the next look may be a better one
                _logger.exception("logs of dead clients cannot be looked for in %s", directory)
        self._foreign &= there

    def _files_of(self, directory: Path) -> list[Path]:
        check_log_directory(directory)
        with os.scandir(directory) as entries:
            names = (entry.name for entry in entries)
            found = [name for name in names if not name.endswith(SET_ASIDE_SUFFIX)]
        is_cared_for = self._sessions.is_cared_for
        return [
            directory / name
            for name in islice(found, _MAX_FILES)
            if not is_cared_for(_session_id(name))  # as of nearly all
        ]

    async def _look_at_one(self, path: Path) -> None:
        if path in self._foreign:
            return
        try:
            await self._look_at(path)
        except OSError as error:
            # It says nothing of the file, which may be all that is left of a client.
            self._tell(
                f"{path.parent} {error.errno}",
                f"{path} cannot be read now, and is looked at again: {error}",
            )
        except Exception:  # a defect, which hides no other log
            _logger.exception("%s cannot be looked at", path)

    def _tell(self, key: str, text: str) -> None:
        """Warns, once for each ``key``."""
        if key not in self._told:
            self._told.add(key)
            _logger.warning("%s", text)

    async def _look_at(self, path: Path) -> None:
        """Raises ``OSError`` if the file cannot be read now."""
        session_id = _session_id(path.name)
        if self._sessions.is_cared_for(session_id):  # by now
            return
        try:
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            fd = os.open(path, flags)
        except FileNotFoundError:  # its client has just removed it
            return
        except OSError as error:
            if error.errno not in _NO_FILE_OF_OURS:
                raise
            self._set_aside(path, str(error))
            return
        try:
            if os.fstat(fd).st_uid != os.geteuid():
                self._set_aside(path, "it is another user's")
            elif try_lock(fd):
                await self._adopt(path, session_id, fd)
        finally:
            os.close(fd)

    async def _adopt(self, path: Path, session_id: bytes, fd: int) -> None:
        log = None
        try:
            log = ClientLog(fd)
            if len(session_id) != SESSION_ID_BYTES or log.header.session_id != session_id:
                raise RefusedError(0, "its name is not that of its session")
            if not _is_at(path, log.header.path):
                raise RefusedError(0, "its name is not the one that it says")
            roots = self._sessions.roots
            if self._sessions.registry.get(session_id) is None and await is_foreign(log, roots):
                log.close()
                self._foreign.add(path)
                self._tell(
                    "foreign",
                    f"{path} is of runs outside {' and '.join(map(str, roots.paths))}, and is left "
                    "for a daemon that writes there, as are others like it",
                )
            else:
                self._sessions.adopt(log)
        except CapacityError:  # of sessions: later
            if log is not None:
                log.close()
        except LogVersionRefusedError as error:  # for the daemon that knows it
            self._tell("version", f"{path} is left alone, as are others like it: {error}")
        except (RefusedError, ProtocolError) as error:
            if log is not None:
                log.close()
            self._set_aside(path, str(error))
        except BaseException:
            if log is not None:
                log.close()
            raise

    def _set_aside(self, path: Path, why: str) -> None:
        _logger.error("%s is no log of a client (%s) and is set aside", path, why)
        try:
            os.rename(path, path.with_name(path.name[:64] + SET_ASIDE_SUFFIX))
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(path)
        _remove_oldest(path.parent)


def _session_id(name: str) -> bytes:
    """The session whose log has this name; empty if none can have it."""
    try:
        return bytes.fromhex(name)
    except ValueError:
        return b""


def _is_at(path: Path, said: str) -> bool:
    """Whether the file at ``path`` is the one at ``said``, too. Raises ``OSError``."""
    try:
        return os.path.samefile(path, said)
    except (FileNotFoundError, NotADirectoryError):
        return False


def _remove_oldest(directory: Path) -> None:
    """Keeps ``MAX_SET_ASIDE`` of the files that were set aside."""
    with contextlib.suppress(OSError):
        aside = list(directory.glob(f"*{SET_ASIDE_SUFFIX}"))
        aside.sort(key=lambda path: path.lstat().st_mtime, reverse=True)
        for path in aside[MAX_SET_ASIDE:]:
            with contextlib.suppress(OSError):
                path.unlink()
