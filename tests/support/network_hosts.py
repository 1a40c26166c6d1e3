"""Two hosts with a link between them that can be cut and slowed: network namespaces."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from support.tools import require_program, require_root

#: The addresses of both ends of the link.
NEAR, FAR = "10.213.7.1", "10.213.7.2"

_numbers: Final = itertools.count()


class Hosts:
    """The namespaces ``near`` and ``far``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        name = f"{os.getpid()}-{next(_numbers)}"
        self.near, self.far = f"boardd-n{name}", f"boardd-f{name}"
        self._link = f"bd{os.getpid() % 100000}"

    def python(self, host: str) -> Path:
        """An interpreter that runs in a namespace."""
        path = self._directory / f"python-{host}"
        if path.exists():
            return path
        path.write_text(f'#!/bin/sh\nexec ip netns exec {host} {sys.executable} "$@"\n')
        path.chmod(0o755)
        return path

    def cut(self) -> None:
        """From now on nothing passes, and nobody is told."""
        self._run("ip", "-n", self.near, "link", "set", f"{self._link}n", "down")

    def mend(self) -> None:
        """The opposite."""
        self._run("ip", "-n", self.near, "link", "set", f"{self._link}n", "up")

    def slow(self, bits_per_sec: int) -> None:
        """From now on the far host sends no faster than that."""
        far = ["ip", "netns", "exec", self.far, "tc", "qdisc", "replace", "dev", f"{self._link}f"]
        shaped = f"root tbf rate {bits_per_sec}bit burst 16kb latency 400ms".split()
        if subprocess.run([*far, *shaped], capture_output=True, timeout=120).returncode:
            pytest.skip("the kernel cannot slow a link here")

    def make(self) -> None:
        """Makes the namespaces and the link."""
        near, far = f"{self._link}n", f"{self._link}f"
        for host in (self.near, self.far):
            if subprocess.run(
                ["ip", "netns", "add", host], capture_output=True, timeout=120
            ).returncode:
                pytest.skip("network namespaces cannot be made here")
        link = ["ip", "-n", self.near, "link", "add", near, "type", "veth"]
        if subprocess.run(
            [*link, "peer", far, "netns", self.far], capture_output=True, timeout=120
        ).returncode:
            pytest.skip("a link between namespaces cannot be made here")
        for host, device, address in ((self.near, near, NEAR), (self.far, far, FAR)):
            self._run("ip", "-n", host, "address", "add", f"{address}/24", "dev", device)
            self._run("ip", "-n", host, "link", "set", "lo", "up")
            self._run("ip", "-n", host, "link", "set", device, "up")

    def remove(self) -> None:
        """Removes both; the link goes with them."""
        for host in (self.near, self.far):
            subprocess.run(["ip", "netns", "del", host], capture_output=True, timeout=120)

    @staticmethod
    def _run(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, timeout=120)


@contextmanager
def two_hosts(directory: Path) -> Iterator[Hosts]:
    """Two hosts, for as long as the body runs. Skips the test where they cannot be made."""
    require_root()
    require_program("ip")
    require_program("tc")
    hosts = Hosts(directory)
    try:
        hosts.make()
        yield hosts
    finally:
        hosts.remove()
