"""Want of descriptors, in the process of the tests and in those it starts."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Callable, Iterator, Sequence
from typing import Any


def popen_with_descriptors(limit: int) -> Callable[..., subprocess.Popen[bytes]]:
    """A ``subprocess.Popen`` of processes that may open so many from their first line on."""

    def popen(arguments: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        limited = ["sh", "-c", f'ulimit -n {limit} && exec "$@"', "sh", *arguments]
        return subprocess.Popen(limited, **options)

    return popen


@contextlib.contextmanager
def descriptors_left(count: int) -> Iterator[None]:
    """Leaves this process so many that it may still open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        highest = max(map(int, os.listdir("/proc/self/fd")))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 8, hard))
        held: list[int] = []
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        for fd in held[count:]:
            stack.callback(os.close, fd)
        for fd in held[:count]:
            os.close(fd)
        yield
