"""Log directories in an object store, which are named by a URL: ``s3://bucket/prefix``.

Both ends read them by this rule. What is neither such a URL nor the path of a local directory
is refused, so that no local directory called ``s3:`` is ever made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

#: A root that every URL lies beneath.
ANY: Final = "*"

_SEPARATOR: Final = "://"
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]+", re.IGNORECASE)
#: What is left of a URL of which a path was made: ``Path("s3://bucket")`` is ``s3:/bucket``.
_LOST_SLASH: Final = re.compile(r"([a-z][a-z0-9+.-]+):/(?!/)", re.IGNORECASE)
#: Names of one store. Two of them must not become two runs that write the same objects.
_ALIASES: Final = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "az": "abfs", "abfss": "abfs"}
#: Local files, and what fsspec makes of other stores or can only read.
_NO_STORES: Final = frozenset(
    {"file", "local", "http", "https", "data", "zip", "tar", "reference", "git", "github", "gist"}
)


def is_remote(logdir: str) -> bool:
    """Whether ``logdir`` is meant as a URL; ``checked`` says whether it can be one."""
    return _SEPARATOR in logdir and not logdir.startswith("/")


def checked(logdir: str) -> str:
    """Returns ``logdir``: a URL in its one form, a local path as it is.

    Raises ``ValueError`` for what is neither, and says what to write instead.
    """
    if not is_remote(logdir):
        lost = _LOST_SLASH.match(logdir)
        if lost is not None:
            raise ValueError(
                f"logdir {logdir!r}: a URL has two slashes behind {lost[1]}:, and a Path takes one "
                f"of them away; give it as a str (./{logdir} is a local directory)"
            )
        return logdir
    scheme, _, rest = logdir.partition(_SEPARATOR)
    store, _, path = rest.partition("/")
    if not _SCHEME.fullmatch(scheme):
        raise ValueError(
            f"logdir {logdir!r}: expected a local path, or a URL such as s3://bucket/runs"
        )
    scheme = scheme.lower()
    if scheme in _NO_STORES:
        raise ValueError(
            f"logdir {logdir!r}: runs are not written to {scheme}:// URLs; give a local directory "
            "by its path, a bucket as s3://bucket/runs or gs://bucket/runs"
        )
    if ":" in store.partition("@")[0] and "@" in store:
        raise ValueError(
            f"logdir {scheme}://...: it holds a password, which would be seen in logs; put "
            "credentials where the store's own tools look for them"
        )
    names = [name for name in path.split("/") if name not in ("", ".")]
    if not store or store in (".", "..") or ".." in names or "\0" in logdir:
        raise ValueError(
            f"logdir {logdir!r}: expected {scheme}://BUCKET/PREFIX, without '..' in it"
        )
    return "/".join((f"{_ALIASES.get(scheme, scheme)}:/", store, *names))


def lies_beneath(url: str, roots: Iterable[str]) -> bool:
    """Whether ``url`` is one of ``roots`` or beneath one. All are in their one form."""
    return any(root == ANY or url == root or url.startswith(f"{root}/") for root in roots)


def split_roots(text: str) -> list[str]:
    """The paths and URLs in ``text``, which colons separate; empty ones are left out.

    A colon before two slashes is part of a URL.
    """
    return [root for root in re.split(r":(?!//)", text) if root]
