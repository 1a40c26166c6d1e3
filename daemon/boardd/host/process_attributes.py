"""What a process inherits from the one that started it, set anew.

The daemon that a client starts serves every process of its user. None of them should be
treated as the first one was: run by ``nice`` or ``taskset``, under a limit, with a umask of
its own, with signals ignored.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from typing import Final

from boardd.settings import host_limits

#: Of files that nobody said anything of.
UMASK: Final = 0o022

#: Limits that would end the daemon, or cut its files off.
_LIMITS: Final = (
    resource.RLIMIT_AS,
    resource.RLIMIT_CPU,
    resource.RLIMIT_DATA,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NPROC,
)

#: Python ignores these itself, so that a call returns an error instead.
_IGNORED: Final = frozenset({signal.SIGPIPE, signal.SIGXFSZ})


def reset() -> None:
    """Sets anew what this process inherited, as far as it may; see the module.

    What takes privileges that it does not have stays as it is.
    """
    os.chdir("/")
    for limit in _LIMITS:
        _, hard = resource.getrlimit(limit)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (hard, hard))
    for number in signal.valid_signals() - _IGNORED:
        if signal.getsignal(number) is signal.SIG_IGN:
            with contextlib.suppress(OSError, ValueError):  # some belong to the C library
                signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # Each thread has its own, and libraries have started some by now.
    for thread in map(int, os.listdir("/proc/self/task")):
        host_limits.unbind(thread)
        with contextlib.suppress(OSError):
            os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, 0)
