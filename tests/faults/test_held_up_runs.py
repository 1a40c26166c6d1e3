"""One run that is held up or refused beside healthy runs of its process and of others."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import pytest
from boardd_client import SummaryWriter
from boardd_protos import boardd_pb2 as pb
from support.daemon_process import DaemonProcess
from support.raw_client import RawClient, scalars
from support.tensorboard_reader import read_scalars
from support.tools import tmpfs
from support.torture_scale import long_or
from support.waiting import wait_until

#: Records that fill the ring of ``small_ring`` several times.
MANY = 15_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB beneath the daemon's root, which is full."""
    with tmpfs(tmp_path / "logs" / "small", "size=512k") as directory:
        (directory / "ballast").write_bytes(bytes(512 * 1024))
        yield directory


@pytest.fixture(params=["shared", "by value"])
def small_ring(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOARDD_LOG_BYTES", str(256 << 10))
    monkeypatch.setenv("BOARDD_SHARED_MEMORY", str(int(request.param == "shared")))


def steps(run: Path) -> list[int]:
    """The steps of tag ``loss`` in the order of the files."""
    return [point.step for point in read_scalars(run, "python")["."]["loss"]]


@pytest.mark.slow
@pytest.mark.usefixtures("small_ring")
@pytest.mark.parametrize("is_daemon_killed", [False, True])
def test_a_run_on_a_full_disk_keeps_nobody_waiting_and_nobody_from_logging(
    tmp_path: Path, small_disk: Path, is_daemon_killed: bool
) -> None:
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="boardd-", dir="/tmp"))
        daemon = stack.enter_context(DaemonProcess(tmp_path, socket=Path(directory) / "s"))
        full = SummaryWriter(small_disk / "run", address=daemon.address)
        healthy = [
            SummaryWriter(daemon.logdir / f"run{number}", address=daemon.address)
            for number in range(10)
        ]
        full_steps = 0

        def log_full(count: int) -> None:
            nonlocal full_steps
            for _ in range(count):
                full.add_scalar("loss", 1.0, full_steps)
                full_steps += 1

        log_full(100)
        for sw in healthy:
            sw.add_scalar("loss", 0.0, 0)
        wait_until(
            lambda: any("No space" in run.trouble for run in daemon.status().runs), "trouble"
        )
        for sw in healthy:
            assert sw.flush(timeout=60), "others are held up"
        for step in range(1, MANY // 10):
            for sw in healthy:
                sw.add_scalar("loss", float(step), step)
            if step % 100 == 0:
                log_full(200)
                assert healthy[0].flush(timeout=60)
        for sw in healthy:
            begin = time.monotonic()
            assert sw.flush(timeout=60)
            assert time.monotonic() - begin < 30.0
        counts = full.statistics()
        assert set(counts.dropped) == {"run_held_up"}, counts
        assert counts.accepted == counts.written + counts.pending
        result = full.flush(0.2)
        assert not result
        assert "No space" in result.reason
        if is_daemon_killed:
            daemon.kill()
            stack.enter_context(DaemonProcess(tmp_path, socket=daemon.socket))
        (small_disk / "ballast").unlink()
        assert full.flush(timeout=60)
        # It takes records again.
        full.add_scalar("loss", 1.0, full_steps)
        full_steps += 1
        for sw in [*healthy, full]:
            assert sw.close()
        counts = full.statistics()
        assert counts.accepted == counts.written
    for number in range(10):
        found = steps(tmp_path / "logs" / f"run{number}")
        assert found == list(range(MANY // 10))
    found = steps(small_disk / "run")
    assert found == sorted(set(found))
    assert len(found) == full_steps - counts.dropped["run_held_up"]
    assert found[-1] == full_steps - 1


@pytest.mark.slow
def test_more_writers_than_runs_may_be_open_one_after_the_other(tmp_path: Path) -> None:
    open_at_once = long_or(100, 1024)
    count = open_at_once * 5 // 2
    with DaemonProcess(tmp_path, "--max-runs", str(open_at_once)) as daemon:
        with SummaryWriter(daemon.logdir / "main", address=daemon.address) as main:
            for number in range(count):
                main.add_scalar("loss", 1.0, number)
                with SummaryWriter(daemon.logdir / f"{number}", address=daemon.address) as sw:
                    sw.add_scalar("loss", float(number), number)
            assert main.flush(timeout=60)
            assert main.statistics().written == 2 * count
            assert not main.statistics().dropped
        assert steps(daemon.logdir / "main") == list(range(count))
        for number in range(0, count, count // 10):
            assert steps(daemon.logdir / f"{number}") == [number]
        assert len(list(daemon.logdir.iterdir())) == count + 1


def test_a_refused_sub_run_is_told_as_that(daemon: DaemonProcess) -> None:
    logdir = daemon.logdir / "run"
    (logdir / "loss").mkdir(parents=True)
    (logdir / "loss" / "bad").write_text("no directory")
    sw = SummaryWriter(logdir, address=daemon.address)
    for step in range(10):
        sw.add_scalar("loss", {"good": 1.0, "bad": 2.0}, step)
        sw.add_scalar("loss", 3.0, step)
    result = sw.flush(timeout=60)
    assert not result
    assert "10 rejected records" in result.reason
    assert str(logdir / "loss" / "bad") in result.reason
    counts = sw.statistics()
    assert (counts.written, counts.pending) == (20, 0)
    assert dict(counts.rejected) == {"RUN_REFUSED": 10}
    for step in range(10, 15):
        sw.add_scalar("loss", {"good": 1.0}, step)
    assert sw.close()
    runs = read_scalars(logdir, "python")
    assert len(runs["loss/good"]["loss"]) == 15
    assert len(runs["."]["loss"]) == 10


@pytest.mark.parametrize("is_daemon_killed", [False, True])
def test_what_is_past_a_budget_beside_a_full_disk_is_told_to_its_writer(
    tmp_path: Path, small_disk: Path, is_daemon_killed: bool
) -> None:
    with contextlib.ExitStack() as stack:
        daemon = stack.enter_context(DaemonProcess(tmp_path, "--max-series-per-session", "3"))
        full = SummaryWriter(small_disk / "run", address=daemon.address)
        healthy = SummaryWriter(daemon.logdir / "run", address=daemon.address)
        full.add_scalar("loss", 0.0, 0)
        wait_until(
            lambda: any("No space" in run.trouble for run in daemon.status().runs), "trouble"
        )
        for number in range(5):
            healthy.add_scalar(f"tag{number}", 0.0, 0)
        result = healthy.flush(timeout=60)
        assert not result
        assert "3 rejected records, the last: TOO_MANY_SERIES" in result.reason
        if is_daemon_killed:
            daemon.kill()
            stack.enter_context(DaemonProcess(tmp_path, socket=daemon.socket))
        (small_disk / "ballast").unlink()
        assert full.close()
        assert healthy.close()
        assert dict(healthy.statistics().rejected) == {"TOO_MANY_SERIES": 3}
        assert sorted(read_scalars(daemon.logdir / "run", "python")["."]) == ["tag0", "tag1"]


def test_sessions_whose_runs_are_held_up_leave_room_for_others(
    tmp_path: Path, small_disk: Path
) -> None:
    """Each of them would fill the whole intake alone."""

    async def test() -> None:
        flags = ("--intake-bytes", "4MiB", "--session-intake-bytes", "4MiB")
        with DaemonProcess(tmp_path, *flags) as daemon:
            async with grpc.aio.insecure_channel(daemon.address) as channel:
                sending = []
                for number in range(9):
                    client = await RawClient(channel).begin(f"small/run{number}")
                    sending.append(asyncio.create_task(send_much(client)))
                held = 0
                while (now := (await status(daemon)).intake_bytes) != held or not held:
                    held = now
                    await asyncio.sleep(0.2)
                other = await RawClient(channel).begin("run")
                for first in range(1, 20_001, 1000):
                    await other.records(scalars(first, 1000))
                await other.acknowledged(20_000)
                assert (await other.flush(20_000)).reached
                for task in sending:
                    task.cancel()
                remount = ["mount", "-o", "remount,size=64m", str(small_disk)]
                await asyncio.to_thread(subprocess.run, remount, check=True)

    async def send_much(client: RawClient) -> None:
        for first in range(1, 200_001, 1000):
            await client.records(scalars(first, 1000))

    async def status(daemon: DaemonProcess) -> pb.StatusReply:
        return await asyncio.to_thread(daemon.status)

    asyncio.run(asyncio.wait_for(test(), 120.0))


@pytest.mark.slow
@pytest.mark.usefixtures("small_ring")
def test_a_call_waits_again_once_there_was_room_beside_a_run_that_is_held_up(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_BLOCK_TIMEOUT_SECS", "3")
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="boardd-", dir="/tmp"))
        daemon = stack.enter_context(DaemonProcess(tmp_path, socket=Path(directory) / "s"))
        full = SummaryWriter(small_disk / "run", address=daemon.address)
        healthy = SummaryWriter(daemon.logdir / "run", address=daemon.address, on_full="block")
        full.add_scalar("loss", 1.0, 0)
        wait_until(
            lambda: any("No space" in run.trouble for run in daemon.status().runs), "trouble"
        )
        step = 0
        with daemon.stop_cont():
            while not healthy.statistics().dropped:
                healthy.add_scalar("loss", 1.0, step)
                step += 1
        assert healthy.flush(timeout=60)
        before = dict(healthy.statistics().dropped)
        for later in range(MANY):
            healthy.add_scalar("loss", 1.0, step + later)
        assert dict(healthy.statistics().dropped) == before
        (small_disk / "ballast").unlink()
        assert healthy.close()
        assert full.close()
