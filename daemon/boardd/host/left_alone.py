"""Directories in which the daemon makes no run, though they lie beneath its roots.

It serves its user's own processes, which may write wherever it may, and log wherever they
like: the root of one that a client started is ``/``, that of a service the home directory. But
nobody keeps runs among programs, settings and keys. A script that names such a directory
errs, or is confined itself and means to have the daemon write there. A root that the user
has set in one of them counts more.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

_OF_THE_SYSTEM: Final = (
    *("/bin", "/boot", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sbin", "/sys"),
    *("/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/sbin"),
    *("/usr/local/bin", "/usr/local/etc", "/usr/local/lib", "/usr/local/sbin"),
    # Batch systems have the directories of their jobs beneath /var/spool.
    *("/run/systemd", "/run/udev", "/var/spool/anacron", "/var/spool/at", "/var/spool/cron"),
)
#: Beneath the home directory.
_OF_THE_USER: Final = (
    *(".ssh", ".gnupg", ".config", ".local/bin", ".local/lib"),
    *(".local/share/applications", ".local/share/dbus-1", ".local/share/systemd"),
)


def directories_left_alone() -> tuple[Path, ...]:
    """The directories, absolute; some of them may not exist."""
    of_the_user: tuple[Path, ...] = ()
    try:
        home = Path.home()
    except RuntimeError:  # this user has none
        pass
    else:
        of_the_user = tuple(home / name for name in _OF_THE_USER)
    return (*map(Path, _OF_THE_SYSTEM), *of_the_user)
