"""``boardd doctor``: checks what boardd needs, and says what to do."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence

from boardd_protos import address, remote_logdir
from boardd_protos import boardd_pb2 as pb
from boardd_protos.local_socket import accepts_connections
from boardd_protos.socket_owner import lock_holder, socket_owner
from boardd_protos.variables import misspelt

from boardd.commands.answer_checks import answer_finding
from boardd.commands.control import fetch_status
from boardd.commands.findings import Finding, exit_code, fail, ok, render, to_json, warn
from boardd.commands.flags import Access, access, add_access, add_timeout, command_parser
from boardd.commands.host_checks import (
    check_descriptors,
    check_disks,
    check_memory,
    check_shared_memory,
    sees_files_alike,
)
from boardd.commands.socket_checks import check_socket
from boardd.commands.version_checks import check_packages, check_status
from boardd.errors import CommandError, ExitCode
from boardd.settings.sources import Settings, read


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Prints what is found. Raises ``ConfigError`` for wrong flags."""
    parser = command_parser(
        "doctor",
        "Checks settings, sockets, locks, shared memory, limits, disks, versions and clocks,\n"
        "here and in the daemon if one runs, and says what to do. Changes nothing.",
        "exit codes: 0 nothing failed, 1 something did, 2 a wrong flag",
    )
    add_timeout(parser, 5.0)
    add_access(parser, environ)
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    options = parser.parse_args(arguments)
    # What is logged of the settings is found here, too.
    logging.getLogger("boardd").setLevel(logging.ERROR)
    findings = list(_examine(access(options, environ), options.timeout, environ))
    print(to_json(findings) if options.json else render(findings), flush=True)
    return exit_code(findings)


def _examine(asked: Access, timeout_secs: float, environ: Mapping[str, str]) -> Iterator[Finding]:
    packages = list(check_packages())
    yield from packages
    settings: Settings | None = None
    try:
        settings = read([], environ)
        yield ok("settings", f"{settings.file or 'no file'}; see them with: boardd config")
    except CommandError as error:
        yield fail("settings", str(error), "correct it")
    for name, meant in misspelt(environ).items():
        yield warn("settings", f"{name} is no variable of boardd's", f"did you mean {meant}?")
    reply = pb.StatusReply()
    if isinstance(asked.where, address.UnixAddress):
        can_start = settings is not None and exit_code(packages) is ExitCode.OK
        yield from check_socket(asked.where, environ, can_start=can_start)
    if isinstance(asked.where, address.TcpAddress) or _is_served(asked.where):
        try:
            reply = fetch_status(
                asked.where, token=asked.token, tls=asked.tls, timeout_secs=timeout_secs
            )
            yield from check_status(reply, time.time())
        except CommandError as error:
            yield answer_finding(error, asked.where)
    if isinstance(asked.where, address.TcpAddress):
        return  # the rest is that of another host
    yield from check_shared_memory(asked.where.path)
    # Of a daemon that runs, only what is looked at in its own process counts.
    pid = lock_holder(asked.where.path)
    is_elsewhere = pid is None and (bool(reply.pid) or socket_owner(asked.where.path) is not None)
    if not is_elsewhere:
        yield from check_descriptors(pid)
    yield from check_memory(reply.intake_budget_bytes, pid)
    directories: list[str] = list(reply.logdir_roots)
    directories += [run.group.directory or run.path for run in reply.runs if not run.trouble]
    if not directories and settings is not None and settings.config.are_roots_given:
        directories = list(map(str, settings.config.logdir_roots))
    is_alike = not is_elsewhere and (pid is None or sees_files_alike(pid))
    local = [one for one in directories if not remote_logdir.is_remote(one)]
    yield from check_disks(local, is_alike=is_alike)


def _is_served(where: address.UnixAddress) -> bool:
    try:
        return accepts_connections(where.path)
    except PermissionError:
        return False
