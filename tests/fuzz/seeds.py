"""Makes the corpus anew: ``python -m fuzz.seeds``, from what real clients and daemons write."""

from __future__ import annotations

import hashlib
import os
import queue
import shutil
import struct
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from boardd.core.session.batch import DropPart
from boardd.partials import codec
from boardd.runs.writing.group_work import Work
from boardd.summaries.summarize import reduce_shared
from boardd_client import SummaryWriter
from boardd_protos import boardd_pb2 as pb
from boardd_protos.frame import Frame, decode, encode
from boardd_protos.log_file import encode_entry
from boardd_protos.shared import RELEASE, SHARE, Commit, Handover
from support.daemon_process import DaemonProcess
from support.relayed_life import AggregatorLife, HostLife, member
from support.scripted_daemon import ScriptedDaemon
from support.tfrecords import read_records

from fuzz.script import part
from fuzz.targets import CORPUS
from fuzz.targets.maps import MAP_BYTES, RING_BYTES
from fuzz.targets.messages import SESSION_ID

#: Begins the names of inputs that met a defect once, which stay.
FOUND: Final = "found-"
#: Of a seed; what is larger is left out.
MAX_SEED_BYTES: Final = 4096

_RANDOM: Final = np.random.default_rng(7)


class Recorder(ScriptedDaemon):
    """Keeps the messages of streams as they come."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[pb.ClientMessage] = []

    def _take(
        self,
        session_id: bytes,
        message: pb.ClientMessage,
        outgoing: queue.SimpleQueue[pb.DaemonMessage | None],
    ) -> None:
        self.messages.append(message)
        super()._take(session_id, message, outgoing)


def main() -> None:
    """See the module."""
    top = Path(tempfile.mkdtemp(prefix="bds-", dir="/dev/shm"))
    os.environ["XDG_RUNTIME_DIR"] = str(top)
    for seed in CORPUS.rglob("*"):
        if seed.is_file() and not seed.name.startswith(FOUND):
            seed.unlink()
    try:
        messages, tensors = _recorded()
        frames = [
            frame
            for message in messages
            for frame in decode(message.records.frames)
            if message.WhichOneof("message") == "records"
        ]
        _keep("client_messages", b"\0" + b"".join(b"\0" + part(one) for one in _whole(messages)))
        _keep("message", b"\0\0" + b"".join(map(encode, frames))[:MAX_SEED_BYTES])
        _keep("message", b"\1\0" + b"".join(map(encode, frames[::3])))
        _of_payloads([frame for frame in frames if frame.payload], tensors)
        _of_rings(frames, messages)
        _of_files(top)
        _keep("config", b'socket = "/run/boardd/s"\nlogdir-root = ["/logs"]\nsync = "flush"\n')
        _keep("config", b'lease-secs = 60.0\nmax-runs = 10\nlisten = "[::1]:1"\n')
    finally:
        shutil.rmtree(top, ignore_errors=True)
    seeds = [path for path in CORPUS.rglob("*") if path.is_file()]
    print(f"{len(seeds)} seeds of {sum(path.stat().st_size for path in seeds)} bytes")


def _keep(target: str, seed: bytes) -> None:
    if len(seed) > MAX_SEED_BYTES:
        print(f"{target}: a seed of {len(seed)} bytes is left out", file=sys.stderr)
        return
    path = CORPUS / target / hashlib.sha256(seed).hexdigest()[:16]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(seed)


def _whole(messages: list[pb.ClientMessage]) -> Iterator[bytes]:
    """The messages that are small, as they came."""
    for message in messages:
        data = message.SerializeToString()
        if len(data) < MAX_SEED_BYTES // 4:
            yield data


def _recorded() -> tuple[list[pb.ClientMessage], Mapping[tuple[int, int], bytes]]:
    """What a writer sends that logs each kind, and the tensors by record and number."""
    with Recorder() as daemon:
        with SummaryWriter("logs", address=daemon.address) as sw:
            _log_each_kind(sw)
            assert sw.flush(20.0)
        return daemon.messages, daemon.all_tensors


def _log_each_kind(sw: SummaryWriter) -> None:
    values = _RANDOM.normal(size=12).astype(np.float32)
    for step in range(3):
        sw.add_scalar("loss", float(step), step)
    sw.add_scalars("curves", {"a": 1.0, "b": 2.0}, 0)
    sw.add_histogram("h/count", values, 1, bins=5)
    sw.add_histogram("h/edges", values, 1, bins=[-1.0, 0.0, 1.0])
    sw.add_histogram("h/rule", values, 1, bins="fd")
    sw.add_histogram("h/default", values, 1, bins="default")
    sw.add_image("image", _RANDOM.random((2, 3, 4, 5), np.float32), 1)
    sw.add_images("images", np.zeros((3, 1, 2, 2), np.uint8), 1, dataformats="NCHW")
    sw.add_image_with_boxes("boxes", np.zeros((3, 8, 8), np.uint8), [[1, 1, 5, 5]], 1)
    sw.add_audio("audio", values / 10, 1)
    sw.add_text("text", "some *text*", 1)
    sw.add_pr_curve("curve", values > 0, np.abs(values) / 4, 7, 1)
    sw.add_embedding("embedding", _RANDOM.random((4, 3), np.float32), labels=["a", "b", "c", "d"])
    sw.add_video("video", np.zeros((1, 2, 1, 4, 4), np.uint8), 1)
    sw.add_mesh("mesh", _RANDOM.random((1, 4, 3), np.float32), global_step=1)
    sw.add_hparams({"rate": 0.1, "name": "x"}, {"loss": 1.0})
    sw.add_tensor("tensor", values, 1)


def _of_payloads(frames: list[Frame], tensors: Mapping[tuple[int, int], bytes]) -> None:
    for frame in frames:
        message = pb.Payload.FromString(frame.payload)
        data = [tensors.get((frame.sequence, one), b"") for one in range(len(message.tensors))]
        parts = b"".join(map(part, data))
        for way in range(4):
            encoded = _placed(message, data).SerializeToString() if way & 1 else frame.payload
            _keep("payload", bytes([way]) + part(encoded) + parts)
        _keep("changing_map", part(_placed(message, data).SerializeToString()) + parts)
        chunks = {number: [one] for number, one in enumerate(data)}
        made = reduce_shared("tag", 7, 1e9, frame.payload, chunks, 1 << 26, rank=3)
        _keep("partial", codec.encode(made))


def _placed(message: pb.Payload, data: Sequence[bytes]) -> pb.Payload:
    """The payload with its tensors one behind the other in map 0."""
    placed, at = pb.Payload(), 0
    placed.CopyFrom(message)
    del placed.slots[:]
    for one in data:
        placed.slots.add(map=0, offset=at, size_bytes=len(one))
        at += len(one)
    return placed


def _of_rings(frames: list[Frame], messages: list[pb.ClientMessage]) -> None:
    some = [frame._replace(sequence=number) for number, frame in enumerate(frames[:6], 1)]
    data = b"".join(map(encode, some))
    definitions = [
        one.definitions for one in messages if one.WhichOneof("message") == "definitions"
    ]
    kept = b"".join(encode_entry(one.SerializeToString()) for one in definitions)[:1500]
    steps = bytes([6, len(data) // 8 % 256, 0, 64])
    _keep("ring", bytes([127]) + part(data) + bytes([0, 0, 0]) + bytes(4) + steps)
    words = struct.pack("<6Q", 0, 0, len(kept), 0, 0, 0)
    _keep("parked", bytes([127]) + words + part(data) + bytes([16] * 8))
    moved = struct.pack("<6Q", 9, 0, len(kept), 0, 0, len(data))
    _keep("parked", bytes([127]) + moved + part(data) + bytes([16] * 8))
    _keep("log", words + b"\0" + part(data[:RING_BYTES]) + part(kept) + part(b""))
    _keep("log", moved + b"\0" + part(b"") + part(kept) + part(data[:RING_BYTES]))
    log = words + b"\0" + part(data[:512]) + part(kept[:512]) + part(b"")
    share = Handover(SESSION_ID, SHARE, 0, MAP_BYTES).encode()
    first = bytes([0, 2, 5, 3]) + part(share) + log
    more = bytes([0, 1, 5]) + part(Handover(SESSION_ID, SHARE, 1, MAP_BYTES).encode())
    release = bytes([0, 0]) + part(Handover(SESSION_ID, RELEASE, 1).encode())
    commit = bytes([0, 0]) + part(Commit(3, 144).encode())
    _keep("handover", first + more + release + commit)
    _keep("handover", first + bytes([0x80, 2, 5, 3]) + part(share) + log)


def _of_files(top: Path) -> None:
    with DaemonProcess(top) as daemon:
        with SummaryWriter(daemon.logdir / "run", address=daemon.address) as sw:
            _log_each_kind(sw)
            assert sw.flush(20.0)
        (path,) = (daemon.logdir / "run").glob("events.*")
        data = path.read_bytes()
        records = [one for one in read_records(data) if len(one) < 1000]
    framed = b"".join(map(part, records))
    small = b"".join(map(part, records[:12]))
    _keep("event_file", b"\0" + framed[: MAX_SEED_BYTES - 1])
    _keep("event_file", b"\1" + data[: MAX_SEED_BYTES - 1])
    _keep("merged", part(b"\0" + small) + part(b"\0" + small))
    for one in records[12:]:
        both = b"\0" + part(records[0]) + part(one)
        _keep("merged", part(both) + part(both))
    _of_journal(top)


def _of_journal(top: Path) -> None:
    host = HostLife(top / "host")
    asked = [member(b"session-%d" % rank, rank, 2) for rank in (0, 1)]
    for rank, one in enumerate(asked):
        host.log(one, one.session, 1, np.arange(2) + rank)
    dropped = DropPart(b"session-0", host.run, None, 0, 0, 0, {"log_full": 3}, 1, 1.0)
    host.record([Work(asked[0], dropped)])
    host.leave(asked[1])
    batch = host.next_batch(0, 1 << 20)
    assert batch is not None
    _keep("relayed", part(batch.data))
    _keep("relayed", part(batch.data) + part(batch.data))
    aggregator = AggregatorLife(top / "aggregator")
    aggregator.take(batch)
    for life in (host, aggregator):
        (path,) = life.directory.path.glob("journal.*")
        records = list(read_records(path.read_bytes()))
        seed = b"\0" + b"".join(map(part, records))
        _keep("journal", part(seed))
        _keep("journal", part(seed) + part(seed))
    host.die()
    aggregator.die()


if __name__ == "__main__":
    main()
