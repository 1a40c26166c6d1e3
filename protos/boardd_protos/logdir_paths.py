"""What ``os.path`` does with paths, for log directories, which may be URLs as well."""

from __future__ import annotations

import os

from boardd_protos.remote_logdir import checked, is_remote


def joined(logdir: str | os.PathLike[str], *names: str) -> str:
    """``os.path.join`` without ``.`` and empty names, of a URL or of a local path."""
    text = os.fspath(logdir)
    if is_remote(text):
        return checked("/".join((text, *names)))
    return os.path.normpath(os.path.join(text, *names))


def absolute(logdir: str | os.PathLike[str]) -> str:
    """``os.path.abspath`` of a local path; of a URL its one form. Raises as ``checked``."""
    text = checked(os.fspath(logdir))
    return text if is_remote(text) else os.path.abspath(text)
