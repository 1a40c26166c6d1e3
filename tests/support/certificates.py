"""An authority of its own, and certificates that it signs, made by openssl."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple

from support.tools import require_program

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Certificate(NamedTuple):
    """The paths of a certificate and of its private key."""

    chain: str
    key: str


class Authority:
    """Signs certificates; its files lie in ``directory``."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        require_program("openssl")
        self._directory = directory
        self._key = directory / f"{name}.key"
        self.certificate = str(directory / f"{name}.pem")  #: its own, which others trust
        _openssl(
            *("req", "-x509", *_KEY, "-days", "2", "-subj", f"/CN={name}"),
            *("-keyout", str(self._key), "-out", self.certificate),
        )

    def sign(self, name: str, host: str = "localhost", *, days: int = 2) -> Certificate:
        """Makes a certificate of ``host``; below 0 ``days`` it has expired."""
        chain, key, request = (
            str(self._directory / f"{name}.{suffix}") for suffix in ("pem", "key", "csr")
        )
        names = self._directory / f"{name}.names"
        names.write_text(f"subjectAltName=DNS:{host}\n")
        _openssl("req", *_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        _openssl(
            *("x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", str(self._key)),
            *("-CAcreateserial", "-days", str(days), "-extfile", str(names), "-out", chain),
        )
        return Certificate(chain, key)


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=120)
