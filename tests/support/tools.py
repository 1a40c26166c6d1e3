"""Tools outside Python that some tests need: small disks, strace, openssl, root.

Where one is missing the test is skipped with the reason; with
``BOARDD_REQUIRE_ALL=1``, which ``.ci/run`` sets after installing them, it fails.
What the machine itself does not permit, to mount and to trace, is skipped.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

REQUIRE_VARIABLE = "BOARDD_REQUIRE_ALL"


def lacking(reason: str) -> NoReturn:
    """Skips the test for ``reason``, or fails it where nothing may be missing."""
    if os.environ.get(REQUIRE_VARIABLE) == "1":
        pytest.fail(f"{REQUIRE_VARIABLE}=1, but {reason}", pytrace=False)
    pytest.skip(reason)


def require_program(name: str) -> None:
    """Asks for a program on the ``PATH``."""
    if shutil.which(name) is None:
        lacking(f"{name} is not installed")


def require_root() -> None:
    """Asks for the superuser."""
    if os.geteuid() != 0:
        pytest.skip("this takes root")


@functools.cache
def _may_trace() -> bool:
    return not subprocess.run(
        ["strace", "-o", "/dev/null", "true"], capture_output=True, timeout=120
    ).returncode


def require_tracing() -> None:
    """Asks for an strace that may trace."""
    require_program("strace")
    if not _may_trace():
        pytest.skip("strace may not trace here")


@contextmanager
def tmpfs(path: Path, options: str) -> Iterator[Path]:
    """Mounts a file system in memory at ``path``, with ``mount``'s options such as ``size=64k``."""
    path.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    require_root()
    if subprocess.run(command, capture_output=True, timeout=120).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        yield path
    finally:
        # What failed may still hold a file open.
        subprocess.run(["umount", "--lazy", str(path)], check=True, timeout=120)


def self_signed_certificate(directory: Path, address: str = "") -> tuple[Path, Path]:
    """Makes a certificate of ``localhost`` and of an IP address, if one is given.

    Returns the paths of it and of its key.
    """
    require_program("openssl")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    alternatives = f"DNS:localhost,IP:{address}" if address else "DNS:localhost"
    names = ["-subj", "/CN=localhost", "-addext", f"subjectAltName={alternatives}"]
    subprocess.run(
        [*command.split(), *names, "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
        timeout=120,
    )
    return certificate, key
