"""Clients break the protocol in every state; the daemon and a bystander go on."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import traceback
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Final

import grpc.aio
import hypothesis
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)
from support.daemon_process import DaemonProcess
from support.service_reading import events_of

from fuzz import bystander
from fuzz.breaker import Breaker

#: Clients; ``make fuzz`` asks for more.
CLIENTS: Final = int(os.environ.get("FUZZ_CLIENTS", "20"))
STEPS: Final = 30
#: A long run meets others each time; it prints the seed, which is asked for with ``FUZZ_SEED``.
SEED: Final = int(os.environ.get("FUZZ_SEED", "0")) or random.SystemRandom().getrandbits(32)
#: Of a client without a stream, before it begins anew.
LOST_STEPS: Final = 2
#: Records that are taken of a client, on an average.
TAKEN: Final = 1
#: What the bystander takes to log, so that most clients are beside it.
_SECS_OF_A_CLIENT: Final = 0.4
#: The most that the daemon may have grown, all clients together: by what it imports as it is
#: used, some 50 MiB, and what its budgets let clients hold at a time.
MAX_GROWTH_BYTES: Final = 128 << 20

NUMBERS: Final = st.sampled_from([0, 1, 2, 7, 48, 4096, 1 << 16, (1 << 31) - 1, (1 << 32) - 1])
LARGE: Final = st.sampled_from([0, 1, 3, 1 << 20, 1 << 40, (1 << 63) - 1, (1 << 64) - 1])
SMALL: Final = st.integers(0, 20)
SERIES: Final = st.sampled_from([1, 1, 1, 2, 3])
AROUND: Final = st.integers(-3, 3)
#: Mostly none, so that what is behind it is met as well.
SLIPS: Final = st.sampled_from([0, 0, 0, 0, 0, 0, -3, -1, 1, 3])
BYTES: Final = st.binary(max_size=200)
NAMES: Final = st.sampled_from(["loss", "", "a/b", "../up", "x" * 5000, "\0", "\ud7ff"])


def machine(loop: asyncio.AbstractEventLoop, daemon: DaemonProcess) -> type[RuleBasedStateMachine]:
    """One client for each of its runs."""

    class Client(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self._lost_steps, self._shares = 0, False
            loop.run_until_complete(self._connect())

        async def _connect(self) -> None:
            self._channel = grpc.aio.insecure_channel(daemon.address)
            self._breaker = Breaker(self._channel, daemon.socket, str(daemon.logdir / "hostile"))

        @initialize(shares=st.booleans())
        def begin(self, shares: bool) -> None:
            self._shares = shares
            self._run(self._breaker.begin(shares=shares))

        def _run(self, step: Coroutine[Any, Any, None]) -> None:
            try:
                loop.run_until_complete(asyncio.wait_for(step, 60.0))
            except BaseException:
                # A second time it may go well, and hypothesis would tell of that alone.
                print(f"a step went wrong:\n{traceback.format_exc()}")
                raise
            self._lost_steps = self._lost_steps + 1 if self._breaker.is_lost else 0
            if self._lost_steps > LOST_STEPS:
                self._begin_again()

        def _begin_again(self) -> None:
            self._lost_steps, self._shares = 0, not self._shares
            self._run(self._breaker.begin(shares=self._shares))

        def teardown(self) -> None:
            loop.run_until_complete(self._breaker.leave())
            loop.run_until_complete(self._channel.close())

        @rule(acknowledged=st.sampled_from([0, 1, 1, 1, 5, (1 << 63) - 1]))
        def open(self, acknowledged: int) -> None:
            self._run(self._breaker.open(acknowledged))

        @rule(shares=st.booleans(), position=st.sampled_from([0, 0, 0, 48, 3, 1 << 62]))
        def attach(self, shares: bool, position: int) -> None:
            self._run(self._breaker.attach(shares=shares, position=position))

        @rule(size=NUMBERS, session_id=st.sampled_from([b"", b"x" * 16]), count=st.integers(0, 3))
        def hand_over(self, size: int, session_id: bytes, count: int) -> None:
            self._run(self._breaker.hand_over(size, session_id, count))

        @rule(data=BYTES)
        def packet(self, data: bytes) -> None:
            self._run(self._breaker.packet(data))

        @rule(number=NUMBERS, size=st.sampled_from([4096, 1 << 16]), claimed=LARGE)
        def share_map(self, number: int, size: int, claimed: int) -> None:
            self._run(self._breaker.share_map(number, size, claimed))

        @rule(number=NUMBERS)
        def release_map(self, number: int) -> None:
            self._run(self._breaker.release_map(number))

        @rule(tags=st.dictionaries(SERIES, NAMES), run=SERIES, logdir=NAMES, rank=AROUND)
        def define(self, tags: dict[int, str], run: int, logdir: str, rank: int) -> None:
            self._run(self._breaker.define(tags, run, logdir, rank=rank, world_size=2))

        @rule(count=SMALL, skip=SLIPS, series=SERIES)
        def log(self, count: int, skip: int, series: int) -> None:
            self._run(self._breaker.log(count, skip, series))

        @rule(count=SMALL, settled=LARGE)
        def log_sparse(self, count: int, settled: int) -> None:
            self._run(self._breaker.log_sparse(count, settled))

        @rule(data=BYTES)
        def log_bytes(self, data: bytes) -> None:
            self._run(self._breaker.log_bytes(data))

        @rule()
        def log_oversize(self) -> None:
            self._run(self._breaker.log_oversize())

        @rule(offset=LARGE, size=st.sampled_from([0, 8, 1 << 16]), tensor=SMALL, ahead=AROUND)
        def log_tensor(self, offset: int, size: int, tensor: int, ahead: int) -> None:
            self._run(self._breaker.log_tensor(offset, size, tensor, ahead))

        @rule(records=LARGE, step=st.sampled_from([0, 1 << 62, -(1 << 63)]))
        def report(self, records: int, step: int) -> None:
            self._run(self._breaker.report(records, step))

        @rule(count=LARGE)
        def hear(self, count: int) -> None:
            self._run(self._breaker.hear(count))

        @rule(count=SMALL, series=SERIES)
        def append(self, count: int, series: int) -> None:
            self._run(self._breaker.append(count, series))

        @rule(offset=st.integers(0, 1 << 17), data=BYTES)
        def scribble(self, offset: int, data: bytes) -> None:
            self._run(self._breaker.scribble(offset, data))

        @rule(freed=LARGE, tail=LARGE, used=LARGE)
        def set_words(self, freed: int, tail: int, used: int) -> None:
            self._run(self._breaker.set_words(freed, tail, used))

        @rule(records=SLIPS, frames=SLIPS, beside=st.booleans())
        def commit(self, records: int, frames: int, beside: bool) -> None:
            self._run(self._breaker.commit(records, frames, beside=beside))

        @rule(size=st.sampled_from([0, 100, 5000]))
        def cut_log(self, size: int) -> None:
            self._run(self._breaker.cut_log(size))

        @rule(sequence=LARGE, timeout=st.sampled_from([-1.0, 0.0, 1e300]), level=st.integers(0, 3))
        def flush(self, sequence: int, timeout: float, level: int) -> None:
            self._run(self._breaker.flush(sequence, timeout, level))

        @rule()
        def close(self) -> None:
            self._run(self._breaker.close())

        @rule()
        def half_close(self) -> None:
            self._run(self._breaker.half_close())

        @rule()
        def cut(self) -> None:
            self._run(self._breaker.cut())

        @rule()
        def hang_up(self) -> None:
            self._run(self._breaker.hang_up())

    return Client


@pytest.fixture
def hostile_daemon(runtime_directory: Path, tmp_path: Path) -> Iterator[DaemonProcess]:
    """A daemon whose budgets are small.

    It keeps a lost session for so short a time that an hour of clients fits into its sessions.
    """
    intake = ("--intake-bytes", "32MiB", "--session-intake-bytes", "16MiB")
    flags = ("--max-map-bytes", "1GiB", "--max-tensor-bytes", "8MiB", "--lease-secs", "20", *intake)
    with DaemonProcess(tmp_path, *flags, popen=subprocess.Popen) as daemon:
        yield daemon


@pytest.mark.slow
def test_clients_that_break_the_protocol_harm_nobody_else(
    hostile_daemon: DaemonProcess, record_property: pytest.RecordProperty
) -> None:
    daemon = hostile_daemon
    pid, before_bytes = daemon.pid, resident_bytes(daemon.pid)
    logdir = daemon.logdir / "bystander"
    beside = bystander.start(daemon.address, logdir, CLIENTS * _SECS_OF_A_CLIENT)
    loop = asyncio.new_event_loop()
    try:
        is_short = "FUZZ_CLIENTS" not in os.environ
        settings = hypothesis.settings(
            max_examples=CLIENTS,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            derandomize=is_short,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        clients = machine(loop, daemon)
        if not is_short:
            print(f"FUZZ_SEED={SEED}")
            clients = hypothesis.seed(SEED)(clients)
        run_state_machine_as_test(clients, settings=settings)
        seen = bystander.end(beside, CLIENTS * _SECS_OF_A_CLIENT + 120.0)
    finally:
        beside.kill()
        loop.close()
    for name, value in vars(seen).items():
        record_property(name, value)
    counters = daemon.status().counters
    grown = resident_bytes(pid) - before_bytes
    print(f"\nbystander: {seen}; {grown >> 20} MiB more; records of all: {counters}")
    assert counters.accepted >= bystander.RECORDS + TAKEN * CLIENTS, "too little was taken"
    assert daemon.returncode is None, daemon.log
    assert daemon.status().pid == pid
    assert "Traceback" not in daemon.log, daemon.log
    assert grown <= MAX_GROWTH_BYTES, f"{grown >> 20} MiB more"
    assert seen.written == bystander.RECORDS
    assert steps_of(logdir) == list(range(bystander.RECORDS))


def steps_of(logdir: Path) -> list[int]:
    """The steps of all values in a run's event files."""
    return [
        event.step
        for path in sorted(logdir.glob("events.*"))
        for event in events_of(path)
        for _ in event.summary.value
    ]


def resident_bytes(pid: int) -> int:
    """The memory of a process that is not shared with others."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return int(fields["RssAnon"].split()[0]) << 10
