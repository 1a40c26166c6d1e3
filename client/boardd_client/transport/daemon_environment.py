"""What an autostarted daemon takes from the trainer's environment, and nothing else.

The trainer's may hold what is not for the daemon: of its frameworks, of its interpreter,
of the service manager that runs it (``NOTIFY_SOCKET``), and settings of a service that
listens to other hosts or passes on to them (``BOARDD_LISTEN``, ``BOARDD_FORWARD_TO``, tokens,
certificates).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

#: Where the daemon finds its user, its programs and its libraries.
_OF_THE_SYSTEM: Final = (
    *("HOME", "USER", "LOGNAME", "PATH", "TMPDIR", "TZ"),
    *("LANG", "LC_ALL", "LC_CTYPE", "LC_MESSAGES"),
    *("XDG_RUNTIME_DIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME"),
    *("LD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX"),
    *("PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE", "PYTHONNOUSERSITE"),
    *("PYTHONPYCACHEPREFIX", "PYTHONDONTWRITEBYTECODE", "NUMBA_CACHE_DIR"),
)

#: Its settings: budgets, its share of the machine, how long it runs. ``BOARDD_LOGDIR_ROOT``
#: becomes flags.
_SETTINGS: Final = (
    *("BOARDD_CONFIG", "BOARDD_IDLE_EXIT", "BOARDD_DRAIN_SECS", "BOARDD_LEASE_SECS"),
    *("BOARDD_THREADS", "BOARDD_WRITERS", "BOARDD_NICE", "BOARDD_SYNC"),
    *("BOARDD_LOG_LEVEL", "BOARDD_LOG_FORMAT"),
    *("BOARDD_INTAKE_BYTES", "BOARDD_SESSION_INTAKE_BYTES", "BOARDD_MAX_TENSOR_BYTES"),
    *("BOARDD_MAX_MAP_BYTES", "BOARDD_MAX_MESSAGE_BYTES", "BOARDD_MAX_SESSIONS"),
    *("BOARDD_MAX_RUNS", "BOARDD_MAX_SERIES_PER_RUN", "BOARDD_MAX_SERIES_PER_SESSION"),
    *("BOARDD_JOIN_SECS", "BOARDD_LAG_POINTS", "BOARDD_LAG_SECS", "BOARDD_MAX_OPEN_BYTES"),
    *("BOARDD_SPOOL_DIR", "BOARDD_SPOOL_BYTES", "BOARDD_SHIP_SECS"),
    *("BOARDD_STALL_SECS", "BOARDD_REDUCTION_BYTES", "BOARDD_MAX_DEFINITION_BYTES"),
    "BOARDD_MEMORY_BYTES",
)

#: How object stores are reached and who asks them, as their own tools read it. They are the
#: user's, and so is the daemon.
_OF_STORES: Final = (
    *("AWS_", "AZURE_", "CLOUDSDK_", "FSSPEC_", "GOOGLE_", "GCSFS_", "STORAGE_EMULATOR_HOST"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"),
)

# The daemon must not touch the accelerator nor spread over the training's cores.
_SET: Final = {
    "CUDA_VISIBLE_DEVICES": "",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Tracebacks and warnings reach the log when they happen.
    "PYTHONUNBUFFERED": "1",
}


def daemon_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The daemon's environment, made from ``environ``.

    The daemon runs in another directory: what is relative does not change its meaning.
    """
    result = {name: environ[name] for name in (*_OF_THE_SYSTEM, *_SETTINGS) if name in environ}
    result |= {name: value for name, value in environ.items() if name.startswith(_OF_STORES)}
    result |= _SET
    if result.get("PYTHONPATH"):
        paths = result["PYTHONPATH"].split(os.pathsep)
        result["PYTHONPATH"] = os.pathsep.join(os.path.abspath(path) for path in paths)
    if result.get("BOARDD_CONFIG"):
        result["BOARDD_CONFIG"] = os.path.abspath(os.path.expanduser(result["BOARDD_CONFIG"]))
    return result
