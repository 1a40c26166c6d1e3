"""Whether a path leads a client and this daemon to the same directory.

In containers, and wherever else mount namespaces differ, it may not. So the client says
which directory its path leads to, by device and inode: the nearest one that exists.
Only what can be compared is, for a run must not be refused on a host without namespaces:

- A directory may have been removed and made anew since the client looked. So another
  inode on the same device counts only where the daemon sees a mount, which nobody removes.
- A network file system may have another device number in each mount. There, inodes alone
  are compared.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from boardd_protos import boardd_pb2 as pb

from boardd.core.refusals import RefusedError

#: Types of file systems whose device numbers differ from mount to mount.
_NETWORK: Final = frozenset(
    {"9p", "afs", "beegfs", "ceph", "cifs", "gpfs", "lustre", "nfs", "nfs4", "smb3", "virtiofs"}
)
_MOUNTS: Final = Path("/proc/self/mountinfo")


def check_same_directory(logdir: str, seen: pb.Directory, mounts: Path = _MOUNTS) -> None:
    """Raises ``RefusedError`` (ELSEWHERE) if the client's ``logdir`` is another one than ours.

    ``seen`` is what the client saw; nothing is checked if it lies nowhere above ``logdir``.
    ``mounts`` lists those of this process. Blocks on the disk.
    """
    path = Path(seen.path)
    if not path.is_absolute() or not Path(logdir).is_relative_to(path):
        return
    found, status = _nearest(path)
    is_same_inode = found == path and status.st_ino == seen.inode
    if is_same_inode and status.st_dev == seen.device:
        return
    is_mounted, kind = _mount_of(path, status.st_dev, mounts)
    is_network = kind in _NETWORK or kind.startswith("fuse")
    is_same_device = status.st_dev == seen.device or (is_network and is_same_inode)
    if is_same_device and (is_same_inode or not is_mounted):
        return
    raise RefusedError(
        pb.ELSEWHERE,
        f"{logdir}: {path} is another directory for the daemon, which runs in another container "
        "or mount namespace; mount the same directory there under the same path, or set "
        "BOARDD_ADDRESS to a socket of this container, for a daemon of its own",
    )


def _nearest(path: Path) -> tuple[Path, os.stat_result]:
    """The nearest directory that exists, at ``path`` or above it, and its status."""
    for candidate in (path, *path.parents):
        with contextlib.suppress(OSError):
            return candidate, os.stat(candidate)
    raise FileNotFoundError(path)


def _mount_of(path: Path, device: int, mounts: Path) -> tuple[bool, str]:
    """Whether ``path`` is a mount of this process, and the file system type of ``device``."""
    number = f"{os.major(device)}:{os.minor(device)}"
    place = str(path).replace(" ", "\\040")
    is_mounted, found = False, ""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                before, _, after = line.partition(" - ")
                fields = before.split(" ")
                is_mounted = is_mounted or fields[4] == place
                if fields[2] == number:
                    found = after.split(" ")[0]
    except (OSError, IndexError):
        pass
    return is_mounted, found
