"""An embedding on its way through the daemon, which is killed or whose disk is full.

The invariant: the projector's config never has an entry whose files are not all
there, and once the client has sent again what was not acknowledged, everything
is there once.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import numpy as np
import pytest
from boardd_protos import boardd_pb2 as pb
from google.protobuf import text_format
from support.daemon_process import DaemonProcess
from support.raw_client import RawClient, definitions, scalar, summary
from support.service_reading import events_of
from support.tools import require_tracing, tmpfs
from support.waiting import wait_until
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

WORDS, LOSS = 1, 2
TAGS = {WORDS: "words", LOSS: "loss"}


def run_async(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 120.0))


@contextlib.asynccontextmanager
async def connected(daemon: DaemonProcess) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(daemon.address, options=options) as channel:
        yield channel


async def until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(wait_until, condition)


def matrix(step: int, rows: int) -> np.ndarray:
    return np.random.default_rng(step).normal(size=(rows, 8)).astype("<f4")


async def send_embedding(client: RawClient, sequence: int, rows: int) -> None:
    """Logs the embedding of step ``sequence``, its labels the numbers of its rows."""
    labels = np.frombuffer("".join(f"{row}\n" for row in range(rows)).encode(), np.uint8)
    data = matrix(sequence, rows).tobytes()
    for offset in range(0, len(data), 1 << 20):
        chunk = data[offset : offset + (1 << 20)]
        await client.send(chunk=pb.TensorChunk(sequence=sequence, offset=offset, data=chunk))
    await client.send(chunk=pb.TensorChunk(sequence=sequence, tensor=1, data=labels.tobytes()))
    payload = pb.Payload(
        tensors=[
            pb.Tensor(dtype="float32", shape=(rows, 8)),
            pb.Tensor(dtype="uint8", shape=labels.shape),
        ],
        embedding=pb.Embedding(metadata_tensor=1, has_step=True),
    )
    await client.records(summary(sequence, payload, series=WORDS))


def shown_steps(run: Path, rows: int) -> list[int]:
    """The steps that the config has entries of, whose files are checked to be there whole."""
    config_path = run / "projector_config.pbtxt"
    if not config_path.exists():
        return []
    config = text_format.Parse(config_path.read_text(), ProjectorConfig())
    steps = []
    for entry in config.embeddings:
        step = int(entry.tensor_name.removeprefix("words_"))
        assert (run / entry.tensor_path).read_bytes() == matrix(step, rows).tobytes()
        labels = (run / entry.metadata_path).read_text().splitlines()
        assert labels == [str(row) for row in range(rows)]
        steps.append(step)
    return steps


def event_steps(run: Path) -> list[int]:
    """The steps of all whole events in the order of the files, without marks."""
    found = []
    for path in sorted(run.glob("*tfevents*")):
        # The first event of a file has its version.
        found += [one.step for one in events_of(path)][1:]
    return found


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 512 KiB beneath the daemon's root."""
    with tmpfs(tmp_path / "logs" / "small", "size=512k") as directory:
        yield directory


def test_a_full_disk_that_is_freed_gets_everything_once(tmp_path: Path, small_disk: Path) -> None:
    rows = 5000  # 160,000 bytes, and labels

    async def test() -> None:
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(400 * 1024))
        run = small_disk / "run"
        with DaemonProcess(tmp_path) as daemon:
            async with connected(daemon) as channel:
                client = await RawClient(channel).begin("small/run", TAGS)
                await client.records(scalar(1, series=LOSS))
                await client.acknowledged(1)
                await send_embedding(client, 2, rows)
                await client.records(scalar(3, series=LOSS))
                await until(lambda: any("No space" in one.trouble for one in daemon.status().runs))
                # It comes in its turn: nothing after it is written before.
                assert client.written_sequence == 1
                assert (shown_steps(run, rows), event_steps(run)) == ([], [1])
                assert daemon.status().intake_bytes >= rows * 8 * 4
                ballast.unlink()
                await client.acknowledged(3)
                assert daemon.status().intake_bytes == 0
                assert not client.rejected
                assert (await client.close()).closed
        assert shown_steps(run, rows) == [2]
        assert event_steps(run) == [1, 2, 3]
        assert not list(run.rglob("*.partial"))

    run_async(test())


@pytest.mark.parametrize(
    ("call", "when"),
    [
        # Of the first embedding: tensors, labels, config.
        ("renameat", 1),
        ("renameat", 2),
        ("renameat", 3),
        # Of the second.
        ("renameat", 4),
        ("renameat", 6),
        ("fsync", 3),
    ],
)
def test_a_daemon_that_is_killed_in_the_middle(tmp_path: Path, call: str, when: int) -> None:
    require_tracing()
    rows = 1000
    run = tmp_path / "logs" / "run"

    async def log(client: RawClient, after: int) -> None:
        for sequence in range(after + 1, 6):
            if sequence in (2, 4):
                await send_embedding(client, sequence, rows)
            else:
                await client.records(scalar(sequence, series=LOSS))

    async def test() -> None:
        with DaemonProcess(tmp_path) as daemon:
            async with connected(daemon) as channel:
                client = await RawClient(channel).begin("run", TAGS)
                # An event file that exists, so that only side files are renamed and synced.
                await log_first(client)
                with killing(daemon, call, when):
                    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
                        await log(client, 1)
                    await client.end()
                    await until(lambda: daemon.returncode is not None)
                assert daemon.returncode == -signal.SIGKILL
                acknowledged = client.written_sequence
        assert acknowledged < 5
        before = shown_steps(run, rows)
        assert set(before) <= {2, 4}
        with DaemonProcess(tmp_path) as daemon:
            async with connected(daemon) as channel:
                again = RawClient(channel, client.session_id)
                await again.open(acknowledged_sequence=acknowledged)
                await again.attach()
                await again.send(definitions=definitions("run", TAGS))
                await log(again, acknowledged)
                await again.acknowledged(5)
                assert (await again.close()).closed
        assert shown_steps(run, rows) == [2, 4]
        assert event_steps(run) == [1, 2, 3, 4, 5]
        assert not list(run.rglob("*.partial"))

    run_async(test())


async def log_first(client: RawClient) -> None:
    await client.records(scalar(1, series=LOSS))
    await client.acknowledged(1)


@contextlib.contextmanager
def killing(daemon: DaemonProcess, call: str, when: int) -> Iterator[None]:
    """Kills the daemon at its ``when``th system call of a kind from now on."""
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(daemon.pid)]
    command += ["-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={when}"]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        tasks = Path(f"/proc/{daemon.pid}/task")

        def is_traced() -> bool:
            assert tracer.poll() is None, "strace ended"
            return not any(
                "TracerPid:\t0\n" in (task / "status").read_text() for task in tasks.iterdir()
            )

        wait_until(is_traced, "traced")
        yield
    finally:
        tracer.terminate()
        tracer.wait(timeout=120)
        assert tracer.stderr is not None
        tracer.stderr.close()
