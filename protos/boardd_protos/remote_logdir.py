"""Log directories in an object store, which are named by a URL: ``s3://bucket/prefix``.

Both ends read them by this rule. What is neither such a URL nor the path of a local directory
is refused, so that no local directory called ``s3:`` is ever made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

#: A root that every URL lies beneath, but for those of ``_NAMED_ONLY``.
ANY: Final = "*"

_SEPARATOR: Final = "://"
_SCHEME: Final = re.compile(r"[a-z][a-z0-9+.-]+", re.IGNORECASE)
#: What is left of a URL of which a path was made: ``Path("s3://bucket")`` is ``s3:/bucket``.
_LOST_SLASH: Final = re.compile(r"([a-z][a-z0-9+.-]+):/(?!/)", re.IGNORECASE)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
#: Names of one store. Two of them must not become two runs that write the same objects.
_ALIASES: Final = {
    "s3a": "s3",
    "s3n": "s3",
    "gcs": "gs",
    "az": "abfs",
    "abfss": "abfs",
    "ssh": "sftp",
    "arrow_hdfs": "hdfs",
}
#: Lost when its process ends, so it is written to by who asks for it.
_NAMED_ONLY: Final = frozenset({"memory"})
#: Schemes whose files lie in one place for all hosts, and stay. Others that fsspec knows are
#: local, can only be read, or stand for a cache or a part of another.
STORES: Final = frozenset(
    {
        *("abfs", "gs", "hdfs", "hf", "oci", "oss", "s3", "sftp", "smb", "tos"),
        "webhdfs",
        *_NAMED_ONLY,
    }
)


def is_remote(logdir: str) -> bool:
    """Whether ``logdir`` is meant as a URL; ``checked`` says whether it can be one."""
    return _SEPARATOR in logdir and not logdir.startswith("/")


def checked(logdir: str) -> str:
    """Returns ``logdir``: a URL in its one form, a local path as it is.

    Raises ``ValueError`` for what is neither, and says what to write instead. It does not
    repeat what may be a secret.
    """
    lost = None if is_remote(logdir) else _LOST_SLASH.match(logdir)
    if lost is None and not is_remote(logdir):
        return logdir
    _check_secrets(logdir)
    if lost is not None:
        raise ValueError(
            f"logdir {logdir!r}: a URL has two slashes behind {lost[1]}:, and a Path takes one "
            f"of them away; give it as a str (./{logdir} is a local directory)"
        )
    scheme, _, rest = logdir.partition(_SEPARATOR)
    store, _, path = rest.partition("/")
    if not _SCHEME.fullmatch(scheme):
        raise ValueError(
            f"logdir {logdir!r}: expected a local path, or a URL such as s3://bucket/runs"
        )
    scheme = scheme.lower()
    scheme = _ALIASES.get(scheme, scheme)
    if scheme not in STORES:
        raise ValueError(
            f"logdir {logdir!r}: runs are not written to {scheme}:// URLs; give a local directory "
            "by its path, a bucket as s3://bucket/runs or gs://bucket/runs"
        )
    names = [name for name in path.split("/") if name not in ("", ".")]
    is_chain = "::" in rest
    if not store or store in (".", "..") or ".." in names or is_chain or _CONTROL.search(rest):
        raise ValueError(
            f"logdir {logdir!r}: expected {scheme}://BUCKET/PREFIX, without '..', '::' or control "
            "characters in it"
        )
    return "/".join((f"{scheme}:/", store, *names))


def _check_secrets(logdir: str) -> None:
    user, at, _ = logdir.rpartition("@")
    if at and ":" in re.sub("^[^@]*?:/+", "", user):
        raise ValueError(
            "logdir: its URL holds a password, which would be seen in logs; put credentials where "
            "the store's own tools look for them"
        )
    named, mark, _ = logdir.replace("#", "?").partition("?")
    if mark:
        raise ValueError(
            f"logdir {named!r}...: a URL of a store has no '?' or '#', behind which a secret could "
            "be; put credentials and options where the store's own tools look for them"
        )


def lies_beneath(url: str, roots: Iterable[str]) -> bool:
    """Whether ``url`` is one of ``roots`` or beneath one. All are in their one form."""
    is_any = url.partition(_SEPARATOR)[0] not in _NAMED_ONLY
    return any(
        (root == ANY and is_any) or url == root or url.startswith(f"{root}/") for root in roots
    )


def split_roots(text: str) -> list[str]:
    """The paths and URLs in ``text``, which colons separate; empty ones are left out.

    A colon before two slashes is part of a URL.
    """
    return [root for root in re.split(r":(?!//)", text) if root]
