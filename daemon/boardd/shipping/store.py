"""An object store, by fsspec: credentials come from where each store's own tools look."""

from __future__ import annotations

import importlib.util
import logging
from functools import cache
from pathlib import Path
from typing import Any, Final, Protocol

#: What else than fsspec a scheme needs.
_PACKAGES: Final = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "abfs": "adlfs",
    "hf": "huggingface_hub",
    "oci": "ocifs",
    "oss": "ossfs",
    "tos": "tosfs",
    "sftp": "paramiko",
    "smb": "smbprotocol",
    "hdfs": "pyarrow",
    "webhdfs": "requests",
}

#: Loggers that tell of each connection.
_TALKATIVE: Final = ("aiobotocore", "botocore", "fsspec", "gcsfs", "s3fs")

_INSTALL_FSSPEC: Final = (
    "the daemon's environment lacks fsspec; run there: pip install 'boardd[remote]', and restart it"
)

_INSTALL: Final = (
    "{scheme}:// needs {package}, which the daemon's environment lacks; run there: pip install "
    "{package}, and restart it"
)


class Store(Protocol):
    """Objects of one store. Whatever a method raises may pass."""

    def put(self, file: Path, key: str) -> None:
        """Makes ``file`` the object ``key``, in the place of an earlier one."""

    def size_bytes(self, key: str) -> int:
        """Asks the store for the size of ``key``. Raises ``FileNotFoundError``."""


def missing_package() -> str:
    """What to do if no URL can be written to in this environment; empty if some can."""
    return "" if importlib.util.find_spec("fsspec") else _INSTALL_FSSPEC


def missing_packages() -> dict[str, str]:
    """What to do for each scheme whose package is missing; imports none of them."""
    return {
        scheme: _INSTALL.format(scheme=scheme, package=package)
        for scheme, package in _PACKAGES.items()
        if not importlib.util.find_spec(package)
    }


@cache
def obstacle(scheme: str) -> str:
    """Why a scheme cannot be written to here, and what to do; empty if it can."""
    if missing := missing_package():
        return missing
    import fsspec

    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        package = _PACKAGES.get(scheme)
        if package is None:
            return f"{scheme}:// needs a package that the daemon's environment lacks: {error}"
        return _INSTALL.format(scheme=scheme, package=package)
    except ValueError:
        return f"{scheme}:// is no store that fsspec knows; use s3:// or gs://, for instance"
    return ""


class FsspecStore:
    """A store that fsspec knows, ``scheme://name``. Blocks on the network."""

    def __init__(self, url: str) -> None:
        import fsspec

        for name in _TALKATIVE:
            logging.getLogger(name).setLevel(logging.WARNING)
        # What this process listed earlier is no confirmation.
        options: dict[str, Any] = {"use_listings_cache": False, "skip_instance_cache": True}
        self._files, root = fsspec.core.url_to_fs(url, **options)
        self._root = root.rstrip("/")

    def put(self, file: Path, key: str) -> None:
        """Makes ``file`` the object ``key``, in the place of an earlier one."""
        path = f"{self._root}/{key}"
        if not self._files.async_impl:  # a file system with directories
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._files.put_file(str(file), path)

    def size_bytes(self, key: str) -> int:
        """Asks the store for the size of ``key``. Raises ``FileNotFoundError``."""
        self._files.invalidate_cache()
        return int(self._files.info(f"{self._root}/{key}")["size"])
