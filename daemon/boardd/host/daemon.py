"""The running daemon: binds, serves, and leaves on a signal or when idle.

Order matters. The lock of the socket comes first and goes last. The socket is
bound under another name and renamed into place when it serves. So a client never
finds a socket that does not answer, and gRPC cannot remove a later daemon's socket
at its end. TCP has a gRPC server of its own: only calls over TCP must carry a
token, and an interceptor cannot see by which transport a call came.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import resource
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NoReturn

import grpc
import grpc.aio
import uvloop
from boardd_protos import REVISION, __version__, address
from boardd_protos.log_directory import log_directories
from boardd_protos.socket_owner import SocketOwner
from grpc_health.v1 import health
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server
from grpc_reflection.v1alpha import reflection

from boardd.errors import CommandError, ConfigError, ExitCode
from boardd.host import heap, late_modules, process_attributes
from boardd.host.activation import Activation
from boardd.host.drain_progress import ShowDrain, showing_progress
from boardd.host.left_alone import directories_left_alone
from boardd.host.metrics_port import MetricsPort
from boardd.host.port_check import check_port
from boardd.host.remote_roots import check_remote_roots, remote_roots
from boardd.host.socket_lock import SocketLock, ensure_private_directory
from boardd.host.systemd import Notifier
from boardd.relay.grpc_relay import GrpcRelay
from boardd.rpc.auth import (
    AdmissionInterceptor,
    TokenInterceptor,
    is_open_to_others,
    read_token,
    server_credentials,
)
from boardd.rpc.handlers import SERVICE_NAME, add_relay, add_service
from boardd.rpc.newcomers import Newcomers
from boardd.rpc.relay_service import RelayService
from boardd.rpc.service import Service
from boardd.rpc.status_reply import whole
from boardd.rpc.tcp_connections import TcpConnections, max_connections
from boardd.settings.config import Config
from boardd.shipping.shipping import Shipping
from boardd.shipping.store import missing_package

_logger = logging.getLogger("boardd")

#: Streams at once on one connection; a client needs one, and a few calls.
_MAX_STREAMS: Final = 64

#: How long calls under way may take once everything is written.
_GRACE_SECS: Final = 1.0

#: After this time with nothing to do, the daemon gives memory back.
_GIVE_BACK_SECS: Final = 5.0

#: How long a daemon whose environment is broken writes what it still can.
_BROKEN_DRAIN_SECS: Final = 2.0

#: What shipping has of the time to leave, however long the rest took.
_LEAST_SHIP_SECS: Final = 2.0

#: Between looks whether an idle daemon has shipped everything.
_SHIP_POLL_SECS: Final = 5.0

#: How long past its own deadline a drain may take before it is given up.
_OVERTIME_SECS: Final = 2.0


def run(
    config: Config, end_daemon: Callable[[Path], None], show_drain: ShowDrain | None = None
) -> NoReturn:
    """Serves until a signal or idleness ends it, then ends the process.

    ``end_daemon`` ends one that a client has started at the same socket, for this one; not if
    nobody has said where this one writes, for it would reject what the other's clients log.
    ``show_drain`` shows how much is left to write at the end, if that takes a while.
    Raises ``CommandError`` when the daemon cannot be started.
    """
    # Nobody's files are made with it: runs have their writers'. What libraries make is safe.
    umask = os.umask(process_attributes.UMASK)
    if config.autostarted:
        process_attributes.reset()
        umask = process_attributes.UMASK
    _raise_file_limit()
    heap.limit_heaps()
    heap.collect_seldom()
    _yield_to_training(config.nice)
    credentials = interceptors = None
    if config.listen is not None:
        interceptors = _interceptors(config)
        if config.tls_cert is not None and config.tls_key is not None:
            credentials = server_credentials(config.tls_cert, config.tls_key, config.tls_client_ca)
    check_remote_roots(config.logdir_roots)
    ensure_private_directory(config.socket.parent)
    roots = tuple(os.path.realpath(root) for root in config.logdir_roots if isinstance(root, Path))
    named = list(map(os.fspath, directories_left_alone()))
    left_alone = tuple({*named, *map(os.path.realpath, named)})
    owner = SocketOwner(
        *(os.getpid(), config.autostarted, roots, left_alone),
        remote_roots=remote_roots(config.logdir_roots),
        remote_obstacle=missing_package(),
        revision=REVISION,
    )
    end = end_daemon if config.are_roots_given else None
    with SocketLock(config.socket, owner, end_daemon=end) as lock:
        activation = Activation.take(os.environ, config.socket, lock.maps_path)
        daemon = _Daemon(
            config, lock, activation, interceptors or (), credentials, umask, show_drain
        )
        loop = uvloop.new_event_loop()
        loop.run_until_complete(daemon.run())
    # Everything is done and said. The rest of an interpreter's end waits for threads, and
    # one of them may hang in a write to a dead disk.
    _end_process(daemon.exit_code)


class _Daemon:
    def __init__(
        self,
        config: Config,
        lock: SocketLock,
        activation: Activation,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        credentials: grpc.ServerCredentials | None,
        umask: int,
        show_drain: ShowDrain | None,
    ) -> None:
        #: How the process is to end once ``run`` is over.
        self.exit_code = ExitCode.OK
        self._config = config
        self._umask = umask
        self._show_drain = show_drain
        self._lock = lock
        self._activation = activation
        self._interceptors = interceptors
        self._credentials = credentials
        self._notifier = Notifier(os.environ)
        self._health = health.aio.HealthServicer()
        self._leaving = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._service: Service | None = None
        self._shipping = Shipping(config.spool_dir, config.spool_bytes, config.ship_secs)

    async def run(self) -> None:
        """Starts, serves until something calls ``_leave``, drains and stops."""
        self._handle_signals()
        config = self._config
        service = Service(
            config.logdir_roots,
            config.budgets,
            sync=config.sync,
            umask=self._umask,
            limits=config.group_limits,
            left_alone=directories_left_alone(),
            spool=self._shipping.spool,
        )
        self._service = service
        if remote_roots(config.logdir_roots):
            await asyncio.to_thread(self._shipping.resume)
        loop = asyncio.get_running_loop()

        def on_fault() -> None:
            with contextlib.suppress(RuntimeError):  # the daemon has left already
                loop.call_soon_threadsafe(self._leave_broken)

        service.watch_environment(on_fault)
        servers = [self._unix_server(service)]
        addresses: list[address.Address] = [address.UnixAddress(config.socket)]
        if config.listen is not None:
            server, where = self._tcp_server(service, config.listen)
            servers.append(server)
            addresses.append(where)
        relay = self._relay()
        if relay is not None:
            service.forward(relay, str(config.forward_to), config.max_forward_bytes)
            _logger.info("what several ranks log together goes to %s", config.forward_to)
        service.addresses = [str(item) for item in addresses]
        metrics = await self._metrics_port(service)
        await service.start()
        self._take_maps(service)
        await service.note_reductions(_beside(config.socket, "reducing"))
        await service.resume_groups(_beside(config.socket, "groups"))
        service.adopt_logs(log_directories(config.socket))
        for server in servers:
            await server.start()
        self._lock.publish(are_maps_passed=self._activation.maps is not None)
        self._activation.turn_away()
        await self._set_health(HealthCheckResponse.SERVING)
        self._announce(addresses)
        self._tasks.append(asyncio.ensure_future(late_modules.load_in_background()))
        self._tasks.append(asyncio.ensure_future(self._watchdog()))
        self._tasks.append(asyncio.ensure_future(self._give_back_memory(service)))
        if config.idle_exit_secs > 0:
            self._tasks.append(asyncio.ensure_future(self._watch_idleness(service)))
        await self._leaving.wait()
        began = loop.time()
        await self._drain(service)
        await self._ship(config.drain_secs - (loop.time() - began))
        self._activation.give_back()
        self._shipping.spool.release()
        self._lock.remove_socket()  # from here on who connects starts the next daemon
        await asyncio.gather(*(server.stop(_GRACE_SECS) for server in servers))
        if relay is not None:
            await relay.close()
        for task in self._tasks:
            task.cancel()
        if metrics is not None:
            await metrics.close()
        _logger.info("pid %d has left", os.getpid())

    async def _metrics_port(self, service: Service) -> MetricsPort | None:
        if self._config.metrics is None:
            return None
        port = MetricsPort(self._config.metrics, lambda: whole(service.status()))
        await port.start()
        _logger.info("metrics are at http://%s/metrics", port.address.target)
        return port

    def _relay(self) -> GrpcRelay | None:
        config = self._config
        if config.forward_to is None:
            return None
        path = config.forward_token_file
        token = "" if path is None else read_token(path)
        return GrpcRelay(
            config.forward_to,
            ca=config.forward_ca,
            certificate=config.forward_cert,
            key=config.forward_key,
            token=token,
        )

    def _unix_server(self, service: Service) -> grpc.aio.Server:
        server = self._server(service, ())
        path = self._lock.bind_path
        mask = os.umask(0o077)
        try:
            server.add_insecure_port(address.parse(f"unix:{path}").target)
        except (address.AddressError, RuntimeError) as error:
            raise ConfigError(f"cannot bind {path}: {error}") from None
        finally:
            os.umask(mask)
        return server

    def _take_maps(self, service: Service) -> None:
        if self._activation.maps is not None:
            service.take_maps(self._activation.maps)
            return
        published = os.fsencode(self._lock.maps_path)
        try:
            if len(published) > address.MAX_SOCKET_PATH_BYTES:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            service.take_maps(self._lock.maps_bind_path)
        except OSError as error:
            _logger.warning(
                "clients cannot share memory, and send everything: cannot bind %s: %s",
                self._lock.maps_path,
                error.strerror or error,
            )

    def _tcp_server(
        self, service: Service, listen: address.TcpAddress
    ) -> tuple[grpc.aio.Server, address.TcpAddress]:
        check_port(listen)
        newcomers = Newcomers()
        server = self._server(
            service,
            (*self._interceptors, AdmissionInterceptor(newcomers)),
            ("grpc.max_allowed_incoming_connections", max_connections()),
            # A host that vanished says nothing; without pings its streams would stay for ever.
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
        )
        try:
            port = (
                server.add_insecure_port(listen.target)
                if self._credentials is None
                else server.add_secure_port(listen.target, self._credentials)
            )
        except RuntimeError:
            port = 0
        if not port:  # how gRPC fails depends on its version
            detail = "" if self._credentials is None else ", or the TLS key and certificate differ"
            raise CommandError(f"--listen {listen}: cannot be bound{detail}")
        connections = TcpConnections(port, newcomers)
        service.budgets_held.append(connections.held)
        self._tasks.append(asyncio.ensure_future(connections.watch()))
        return server, address.TcpAddress(listen.host, port)

    def _server(
        self,
        service: Service,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        *options: tuple[str, int],
    ) -> grpc.aio.Server:
        message_bytes = self._config.max_message_bytes
        server = grpc.aio.server(
            interceptors=interceptors,
            options=[
                ("grpc.max_receive_message_length", message_bytes),
                ("grpc.max_send_message_length", message_bytes),
                ("grpc.max_concurrent_streams", _MAX_STREAMS),
                # A second daemon on a port must fail, not share the connections.
                ("grpc.so_reuseport", 0),
                # Clients ping to find out whether a daemon is gone; never cut them off for it.
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
                ("grpc.http2.max_ping_strikes", 0),
                *options,
            ],
        )
        add_service(service, server)
        add_relay(RelayService(service.take_relayed), server)
        add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection(
            (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )
        return server

    def _announce(self, addresses: Sequence[address.Address]) -> None:
        where = ", ".join(map(str, addresses))
        roots = ", ".join(map(str, self._config.logdir_roots))
        self._notifier.ready(f"listening on {where}")
        started = " for a client" if self._config.autostarted else ""
        _logger.info(
            "boardd %s started%s, pid %d: listening on %s; writing below %s",
            __version__,
            started,
            os.getpid(),
            where,
            roots,
        )

    async def _set_health(self, status: int) -> None:
        for name in (health.OVERALL_HEALTH, SERVICE_NAME):
            await self._health.set(name, status)

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # nohup(1) makes the daemon ignore SIGHUP; leave it that way.
            if number != signal.SIGHUP or signal.getsignal(number) is signal.SIG_DFL:
                loop.add_signal_handler(number, self._on_signal, number)

    def _on_signal(self, number: signal.Signals) -> None:
        if not self._leaving.is_set():
            self._leave(f"{number.name} received")
            return
        _logger.warning("second signal (%s): leaving at once", number.name)
        if self._service is not None:
            self._service.leave_at_once()
        self._lock.remove_socket()
        self._lock.release()
        _end_process(ExitCode.FAILED)

    def _leave(self, why: str) -> None:
        if not self._leaving.is_set():
            _logger.info("%s: leaving", why)
            self._leaving.set()

    def _leave_broken(self) -> None:
        self.exit_code = ExitCode.FAILED
        self._leave("something cannot be loaded")

    async def _drain(self, service: Service) -> None:
        secs = self._config.drain_secs
        if self.exit_code is not ExitCode.OK:
            secs = min(secs, _BROKEN_DRAIN_SECS)
        self._notifier.stopping(f"writing what is held, at most {secs:g} s")
        # Before the streams end, so that a probe sees the reason.
        await self._health.enter_graceful_shutdown()
        try:
            async with showing_progress(self._show_drain, lambda: _pending(service)):
                drained = await asyncio.wait_for(service.drain(secs), secs + _OVERTIME_SECS)
        except asyncio.TimeoutError:
            drained = False
            service.leave_at_once()
        if not drained:
            _logger.warning("not everything could be written in %g s; clients keep the rest", secs)

    async def _ship(self, left_secs: float) -> None:
        secs = max(_LEAST_SHIP_SECS, left_secs)
        if self.exit_code is ExitCode.OK and not await asyncio.to_thread(
            self._shipping.drain, secs
        ):
            _logger.warning("not everything could be shipped; the next daemon goes on with it")

    async def _watchdog(self) -> None:
        if self._notifier.watchdog_secs is None:
            return
        while True:
            self._notifier.alive()
            await asyncio.sleep(self._notifier.watchdog_secs / 2)

    async def _give_back_memory(self, service: Service) -> None:
        keeping = heap.Keeping()
        seen = rested = service.activity
        while True:
            await asyncio.sleep(_GIVE_BACK_SECS)
            now = service.activity
            if now == seen != rested:
                rested = now
                give_back = keeping.give_back_growth if service.has_sessions else keeping.give_back
                try:
                    # On a thread, since most of it is the C library's work, without the GIL.
                    await asyncio.to_thread(give_back)
                except Exception:  # a defect, and the next time it may go well
                    _logger.exception("memory cannot be given back")
            seen = now

    async def _watch_idleness(self, service: Service) -> None:
        limit = self._config.idle_exit_secs
        while (idle := service.idle_secs) < limit or self._shipping.must_stay(idle):
            await asyncio.sleep(max(limit - idle, _SHIP_POLL_SECS))
        self._leave(f"no session for {limit:g} s")


def _pending(service: Service) -> int:
    """How many records are to be written."""
    return next(service.status()).counters.pending


def _beside(socket_path: Path, suffix: str) -> Path:
    """A file in which the daemon of a socket notes something for the next one."""
    return socket_path.with_name(f"{socket_path.name}.{suffix}")


def _interceptors(config: Config) -> Sequence[grpc.aio.ServerInterceptor]:
    path = config.token_file
    if path is None:
        is_open = config.listen is not None and not config.listen.is_loopback
        if is_open and config.tls_client_ca is None:
            _logger.warning("TCP needs no token: whoever reaches %s may log", config.listen)
        return ()
    token = read_token(path)
    if is_open_to_others(path):
        _logger.warning("token file %s can be read by every user; run: chmod 600 %s", path, path)
    if config.listen is not None and not config.listen.is_loopback and config.tls_cert is None:
        _logger.warning(
            "the token crosses the network in clear, so boardd's clients refuse to send it: add "
            "--tls-cert and --tls-key"
        )
    return (TokenInterceptor(token),)


def _raise_file_limit() -> None:
    """Raises the limit of open files as far as it goes: a run directory needs one or two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _yield_to_training(nice: int) -> None:
    # On Linux each thread has a priority of its own, which new threads inherit, and
    # libraries have started some by now. It is never raised: that takes privileges.
    for thread in map(int, os.listdir("/proc/self/task")):
        with contextlib.suppress(ProcessLookupError):
            if os.getpriority(os.PRIO_PROCESS, thread) < nice:
                os.setpriority(os.PRIO_PROCESS, thread, nice)


def _end_process(code: ExitCode) -> NoReturn:
    logging.shutdown()
    os._exit(code)
