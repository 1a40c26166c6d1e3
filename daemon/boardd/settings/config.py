"""Settings of the daemon, from one table.

``Config`` is the table: each field carries an ``Option`` with its name, kind
and help. The flag ``--intake-bytes``, the variable ``BOARDD_INTAKE_BYTES`` and
the key ``intake-bytes`` of a TOML file are all made from it, so they cannot
diverge. A flag overrides a variable, a variable the file, the file the default.
"""

# ruff: noqa: RUF009  (_setting returns a dataclass field)

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from boardd_protos import address

from boardd.core.budget import MEMORY_BYTES, Budgets
from boardd.core.groups.limits import HEARTBEAT_SECS, GroupLimits
from boardd.core.sync_policy import NEVER, SyncPolicy
from boardd.errors import ConfigError
from boardd.settings.default_spool import default_spool
from boardd.settings.option import (
    COUNT,
    LEVEL,
    LEVELS,
    LISTEN,
    LOG_FORMAT,
    MEMORY,
    MESSAGE_SIZE,
    NICE,
    PATH,
    POSITIVE_SECONDS,
    ROOT,
    SECONDS,
    SIZE,
    SOCKET,
    SPOOL_SIZE,
    SYNC,
    TRUTH,
    Option,
    SettingType,
)

#: Idle time after which a daemon that a client started leaves, unless told otherwise.
AUTOSTARTED_IDLE_SECS: Final = 300.0

_BOUNDS: Final = Budgets()
_LIMITS: Final = GroupLimits()
#: A link may be slow, and a daemon busy.
_LEAST_HOST_SECS: Final = 3 * HEARTBEAT_SECS

_WHERE = "where it listens and writes"
_REMOTE = "logdirs in an object store, such as s3://bucket/runs"
_LIFE = "how long it runs"
_SHARE = "its share of the machine"
_GROUPS = "how long points of several ranks wait for each of them"
_BUDGETS = "budgets (a SIZE is bytes, or has a unit: 64MiB, 2GiB)"
_ACCESS = "access over TCP"
_FORWARDING = "several hosts"
_OTHER = "other"


def _setting(
    name: str,
    kind: SettingType,
    group: str,
    help: str,
    *,
    repeatable: bool = False,
    in_file: bool = True,
    default_text: str = "",
    **default: Any,
) -> Any:
    option = Option(name, kind, group, help, repeatable, in_file, default_text)
    return dataclasses.field(**default, metadata={"option": option})


@dataclass(frozen=True)
class Config:
    """Everything the daemon can be told. Paths are absolute."""

    socket: Path = _setting(
        "socket",
        SOCKET,
        _WHERE,
        "Unix socket to serve on; its directory must be yours alone (mode 0700) and is "
        "made if it is missing",
        default_text="$XDG_RUNTIME_DIR/boardd/boardd.sock, else /tmp/boardd-UID/boardd.sock",
        default_factory=lambda: address.default_address().path,
    )
    listen: address.TcpAddress | None = _setting(
        "listen",
        LISTEN,
        _WHERE,
        "serve on TCP too; port 0 takes a free one and prints it; any host but this one "
        "needs --token-file or --tls-cert",
        default_text="off",
        default=None,
    )
    logdir_roots: tuple[Path | str, ...] = _setting(
        "logdir-root",
        ROOT,
        _WHERE,
        "write only beneath this directory, or URL such as s3://bucket/runs; may be given several "
        "times; a client's relative logdir starts at the first",
        repeatable=True,
        default_text="the current directory",
        default_factory=lambda: (Path.cwd(),),
    )
    config: Path | None = _setting(
        "config",
        PATH,
        _WHERE,
        "TOML file of settings: the names below without the leading dashes; relative paths "
        "in it start at its own directory",
        in_file=False,
        default_text="$XDG_CONFIG_HOME/boardd/config.toml, else ~/.config/boardd/config.toml, "
        "if there is one",
        default=None,
    )
    sync: SyncPolicy = _setting(
        "sync",
        SYNC,
        _WHERE,
        "when event files are made durable, so that a power cut does not lose them: never "
        "(only when they are closed, and when a client asks for it), flush (with each flush "
        "too), or so many seconds after something was written at the latest; a client may "
        "ask for more for its own runs",
        default_text="never",
        default=NEVER,
    )
    spool_dir: Path = _setting(
        "spool-dir",
        PATH,
        _REMOTE,
        "directory on this host's disk in which their runs are written first",
        default_text="$XDG_STATE_HOME/boardd/spool-HOST, else ~/.local/state/boardd/spool-HOST",
        default_factory=default_spool,
    )
    spool_bytes: int = _setting(
        "spool-bytes",
        SPOOL_SIZE,
        _REMOTE,
        "what their stores have not confirmed yet; beyond that their runs wait",
        default=16 << 30,
    )
    ship_secs: float = _setting(
        "ship-secs",
        POSITIVE_SECONDS,
        _REMOTE,
        "what is logged is shipped after this time at the latest; each time makes an object of "
        "each run to which something was logged",
        default=60.0,
    )
    idle_exit_secs: float = _setting(
        "idle-exit",
        SECONDS,
        _LIFE,
        "leave after this time without a session; 0 means never",
        default_text=f"0; {AUTOSTARTED_IDLE_SECS:g} with --autostarted",
        default=0.0,
    )
    drain_secs: float = _setting(
        "drain-secs",
        SECONDS,
        _LIFE,
        "the longest time to write what is held, after the first SIGTERM or SIGINT",
        default=30.0,
    )
    lease_secs: float = _setting(
        "lease-secs",
        POSITIVE_SECONDS,
        _LIFE,
        "how long to keep the session of a client that is not connected",
        default=_BOUNDS.lease_secs,
    )
    reducers: int = _setting(
        "threads",
        COUNT,
        _SHARE,
        "threads that make histograms and images; they use at most N cores",
        default_text="half the cores that affinity and control groups allow",
        default=_BOUNDS.reducers,
    )
    writers: int = _setting(
        "writers",
        COUNT,
        _SHARE,
        "threads that write event files; at most N slow disks are written at once",
        default=_BOUNDS.writers,
    )
    nice: int = _setting(
        "nice",
        NICE,
        _SHARE,
        "scheduling priority, 0 (that of training) to 19 (only when nothing else runs)",
        default=10,
    )
    memory_bytes: int = _setting(
        "memory-bytes",
        MEMORY,
        _BUDGETS,
        "memory for records, reductions and names together, as a size or as a share of the "
        "machine's or the control group's (25%); the budgets below are parts of it",
        default_text="50%, 2GiB at most",
        default=MEMORY_BYTES,
    )
    intake_bytes: int = _setting(
        "intake-bytes",
        SIZE,
        _BUDGETS,
        "records received and not yet written, all sessions; beyond that clients wait",
        default_text="a quarter of memory-bytes",
        default=_BOUNDS.intake_bytes,
    )
    session_intake_bytes: int = _setting(
        "session-intake-bytes",
        SIZE,
        _BUDGETS,
        "the same for one session",
        default_text="an eighth of memory-bytes",
        default=_BOUNDS.session_intake_bytes,
    )
    max_tensor_bytes: int = _setting(
        "max-tensor-bytes",
        SIZE,
        _BUDGETS,
        "tensors of one record",
        default_text="half of memory-bytes, 512MiB at most",
        default=_BOUNDS.max_tensor_bytes,
    )
    reduction_bytes: int = _setting(
        "reduction-bytes",
        SIZE,
        _BUDGETS,
        "memory that reductions under way take beside their tensors; the others wait",
        default_text="half of memory-bytes",
        default=_BOUNDS.reduction_bytes,
    )
    max_map_bytes: int = _setting(
        "max-map-bytes",
        SIZE,
        _BUDGETS,
        "memory that all clients on this host share; a client without room sends its records",
        default=_BOUNDS.max_map_bytes,
    )
    max_message_bytes: int = _setting(
        "max-message-bytes",
        MESSAGE_SIZE,
        _BUDGETS,
        "one gRPC message, 2MiB to 64MiB",
        default=_BOUNDS.max_message_bytes,
    )
    max_sessions: int = _setting(
        "max-sessions", COUNT, _BUDGETS, "sessions open at once", default=_BOUNDS.max_sessions
    )
    max_runs: int = _setting(
        "max-runs", COUNT, _BUDGETS, "run directories open at once", default=_BOUNDS.max_runs
    )
    max_definition_bytes: int = _setting(
        "max-definition-bytes",
        SIZE,
        _BUDGETS,
        "memory of the names of runs and tags, all sessions; beyond it records are rejected",
        default_text="a quarter of memory-bytes",
        default=_BOUNDS.max_definition_bytes,
    )
    max_series_per_run: int = _setting(
        "max-series-per-run",
        COUNT,
        _BUDGETS,
        "tags in one run directory",
        default=_BOUNDS.max_series_per_run,
    )
    max_series_per_session: int = _setting(
        "max-series-per-session",
        COUNT,
        _BUDGETS,
        "tags of one session",
        default=_BOUNDS.max_series_per_session,
    )
    stall_secs: float = _setting(
        "stall-secs",
        POSITIVE_SECONDS,
        _BUDGETS,
        "how long a client may fall silent in the middle of a tensor",
        default=_BOUNDS.stall_secs,
    )
    join_secs: float = _setting(
        "join-secs",
        SECONDS,
        _GROUPS,
        "from the first rank of a launch on, how long the others are waited for; a run to "
        "which rank 0 alone logs shows its first points after that",
        default=_LIMITS.join_secs,
    )
    lag_points: int = _setting(
        "lag-points",
        COUNT,
        _GROUPS,
        "a point does not wait beside more newer ones of its tag",
        default=_LIMITS.lag_points,
    )
    lag_secs: float = _setting(
        "lag-secs",
        POSITIVE_SECONDS,
        _GROUPS,
        "a point does not wait longer for a rank that is slow or stopped",
        default=_LIMITS.lag_secs,
    )
    host_secs: float = _setting(
        "host-secs",
        POSITIVE_SECONDS,
        _GROUPS,
        "the ranks of a host whose daemon forwards are not waited for any more if nothing was "
        f"heard of it for so long; it says every {HEARTBEAT_SECS:g} s that it is there",
        default=_LIMITS.host_secs,
    )
    max_open_bytes: int = _setting(
        "max-open-bytes",
        SIZE,
        _GROUPS,
        "memory of the points of one run that wait; past it, the oldest wait no more",
        default=_LIMITS.max_open_bytes,
    )
    token_file: Path | None = _setting(
        "token-file",
        PATH,
        _ACCESS,
        "file with a token that every call over TCP must carry as 'authorization: Bearer "
        "TOKEN' (not health checks, not calls over the Unix socket)",
        default=None,
    )
    tls_cert: Path | None = _setting(
        "tls-cert",
        PATH,
        _ACCESS,
        "PEM certificate chain; TCP is then TLS only",
        default=None,
    )
    tls_key: Path | None = _setting(
        "tls-key", PATH, _ACCESS, "PEM private key of --tls-cert", default=None
    )
    tls_client_ca: Path | None = _setting(
        "tls-client-ca",
        PATH,
        _ACCESS,
        "PEM file of the authorities that sign the certificates of clients; a client that "
        "shows none of theirs is not served",
        default=None,
    )
    forward_to: address.TcpAddress | None = _setting(
        "forward-to",
        LISTEN,
        _FORWARDING,
        "pass on what several ranks log together to the daemon there, which merges the ranks of "
        "all hosts and writes their runs beneath its own logdir root",
        default_text="off",
        default=None,
    )
    max_forward_bytes: int = _setting(
        "max-forward-bytes",
        SIZE,
        _FORWARDING,
        "what that daemon has not written yet, kept on this host's disk; beyond that clients wait",
        default=4 << 30,
    )
    forward_ca: Path | None = _setting(
        "forward-ca",
        PATH,
        _FORWARDING,
        "PEM file of the authority that signed that daemon's certificate; the connection is "
        "then TLS",
        default=None,
    )
    forward_cert: Path | None = _setting(
        "forward-cert",
        PATH,
        _FORWARDING,
        "PEM certificate chain that this daemon shows that one, if that asks for one",
        default=None,
    )
    forward_key: Path | None = _setting(
        "forward-key",
        PATH,
        _FORWARDING,
        "PEM private key of --forward-cert",
        default=None,
    )
    forward_token_file: Path | None = _setting(
        "forward-token-file",
        PATH,
        _FORWARDING,
        "file with the token that this daemon shows that one (its --token-file)",
        default=None,
    )
    metrics: address.TcpAddress | None = _setting(
        "metrics",
        LISTEN,
        _OTHER,
        "serve metrics for Prometheus over HTTP on this address, of this host only, whose users "
        "can then read the names of runs; port 0 takes a free one and prints it",
        default_text="off",
        default=None,
    )
    log_level: str = _setting(
        "log-level",
        LEVEL,
        _OTHER,
        f"least severe lines to log: {', '.join(LEVELS)}",
        default="info",
    )
    log_format: str = _setting(
        "log-format",
        LOG_FORMAT,
        _OTHER,
        "text: lines for people; json: an object a line; auto: text on a terminal and where a "
        "client started the daemon, the journal's lines under systemd, json elsewhere",
        default="auto",
    )
    autostarted: bool = _setting(
        "autostarted",
        TRUTH,
        _OTHER,
        "set by a client that starts the daemon by itself: it then leaves when idle, and never "
        "listens on TCP",
        in_file=False,
        default_text="no",
        default=False,
    )

    #: Whether a flag, a variable or the file says where it writes; else it is where it started.
    are_roots_given: bool = False

    @property
    def budgets(self) -> Budgets:
        """The bounds that the core enforces."""
        return Budgets(
            **{item.name: getattr(self, item.name) for item in dataclasses.fields(Budgets)}
        )

    @property
    def group_limits(self) -> GroupLimits:
        """How long groups of ranks wait for each of them."""
        return GroupLimits(
            join_secs=self.join_secs,
            lag_points=self.lag_points,
            lag_secs=self.lag_secs,
            host_secs=self.host_secs,
            max_open_bytes=self.max_open_bytes,
        )

    def check(self) -> None:
        """Raises ``ConfigError`` if settings contradict each other or the machine."""
        for root in self.logdir_roots:
            if isinstance(root, Path) and not root.is_dir():
                raise ConfigError(f"logdir root {root} is not a directory; create it first")
        if self.metrics is not None and not self.metrics.is_loopback:
            raise ConfigError(
                f"--metrics {self.metrics}: other hosts could read the names of runs there; use "
                f"127.0.0.1:{self.metrics.port}, and a proxy that asks who they are"
            )
        if self.host_secs < _LEAST_HOST_SECS:
            raise ConfigError(
                f"--host-secs {self.host_secs:g}: hosts say every {HEARTBEAT_SECS:g} s that they "
                f"are there, and may be late; give at least {_LEAST_HOST_SECS:g}"
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigError("--tls-cert and --tls-key must be given together")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ConfigError("--tls-client-ca needs --tls-cert and --tls-key")
        if (self.forward_cert is None) != (self.forward_key is None):
            raise ConfigError("--forward-cert and --forward-key must be given together")
        if self.forward_cert is not None and self.forward_ca is None:
            raise ConfigError("--forward-cert needs --forward-ca: certificates go with TLS only")
        if self.forward_to is not None and self.forward_to.port == 0:
            raise ConfigError(f"--forward-to {self.forward_to}: name the port of the other daemon")
        if self.forward_to is None and (self.forward_ca or self.forward_token_file):
            raise ConfigError("--forward-ca and --forward-token-file need --forward-to")
        if (
            self.listen is not None
            and not self.listen.is_loopback
            and self.token_file is None
            and self.tls_cert is None
        ):
            raise ConfigError(
                f"--listen {self.listen}: other hosts could reach this address, so it needs "
                "--token-file (and better --tls-cert and --tls-key too); "
                f"or use 127.0.0.1:{self.listen.port} for this host only"
            )


OPTIONS: Final[tuple[Option, ...]] = tuple(
    dataclasses.replace(item.metadata["option"], field=item.name)
    for item in dataclasses.fields(Config)
    if "option" in item.metadata
)
