"""Files in a logdir, which anybody may have written: event files, journals, what peers relay."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from boardd.core.groups.group import Group
from boardd.core.groups.limits import GroupLimits
from boardd.core.refusals import RefusedError
from boardd.core.runs.contents import RunContents
from boardd.core.runs.names import JOURNAL_DIRECTORY
from boardd.core.runs.run_state import RunState
from boardd.errors import CommandError
from boardd.events.event_pb2 import Event
from boardd.events.kinds import kinds_of, notable_events
from boardd.events.marks import Part
from boardd.events.tfrecord import record
from boardd.merge.merge_run import MergeOptions, RunMerge
from boardd.relay.relay import PRODUCER_BYTES, Batch
from boardd.runs.directories.logdir import Roots
from boardd.runs.event_files.event_records import EventRecords
from boardd.runs.event_files.recovery import recover
from boardd.runs.groups.group_recorder import GroupRecorder
from boardd.runs.journal.journal_entries import JournalError
from boardd.runs.journal.journal_reader import JournalReader
from boardd.runs.journal.relayed_entries import encode_relayed
from boardd.runs.relay_intake import read_batch, works_of
from google.protobuf.message import DecodeError

from fuzz.scratch import scratch
from fuzz.script import Script

#: Of what a group holds of its points for the test.
_ROOM_BYTES: Final = 1 << 20
_MAX_ENTRIES: Final = 1 << 12
#: Of the first byte: the others are a file as it is.
_RAW: Final = 1


def event_file(data: bytes) -> None:
    """An event file is found in the directory of a run that is opened, and merged."""
    with _directory() as directory:
        path = directory / "events.out.tfevents.1.host.1.0.boardd"
        path.write_bytes(_records(Script(data)))
        with open(path, "rb") as file:
            records = EventRecords(file.fileno())
            events = list(records.walk())
            compiled = kinds_of(notable_events(records.chunks(1 << 30)))
            # The compiled loop leaves checksums alone, and what is broken within an event.
            if not Script(data).number() & _RAW and all(map(_is_event, events)):
                assert compiled == kinds_of(events)
        with Roots([directory]).open_run(str(directory)) as opened:
            recover(opened, RunContents())


def merged(data: bytes) -> None:
    """Event files of two ranks are merged."""
    script = Script(data)
    with _directory() as directory:
        ranks = {rank: directory / f"rank_{rank}" for rank in (0, 1)}
        for path in ranks.values():
            path.mkdir()
            events = _records(Script(script.part()))
            (path / "events.out.tfevents.1.host.1.0.boardd").write_bytes(events)
        out = directory / "out"
        out.mkdir()
        options = MergeOptions(max_open_bytes=_ROOM_BYTES)
        try:
            RunMerge("", ranks, options, lambda size_bytes: None).run(out)
        except CommandError:
            return


def journal(data: bytes) -> None:
    """A journal is found by the daemon that goes on with it, and by what forwards it."""
    script = Script(data)
    with _directory() as directory:
        path = directory / "run" / JOURNAL_DIRECTORY
        path.mkdir(parents=True)
        for number in range(1, 4):
            segment = _records(Script(script.part()))
            if segment:
                (path / f"journal.boardd.{number:010d}").write_bytes(segment)
        _restore(directory)
        try:
            reader = JournalReader(path)
        except JournalError:
            return
        try:
            entries = reader.read(_MAX_ENTRIES, _ROOM_BYTES)
            assert len(entries) <= _MAX_ENTRIES
            encode_relayed(entries, reader.tags, reader.members)
        except JournalError:
            return
        finally:
            reader.close()


def relayed(data: bytes) -> None:
    """Another daemon relays batches."""
    script = Script(data)
    with _directory() as directory, _recorder(directory) as recorder:
        while script:
            batch = Batch(bytes(PRODUCER_BYTES), "run", 0, 1 << 40, 0, script.part())
            try:
                _, told = read_batch(Roots([directory]), batch)
            except (JournalError, RefusedError):
                continue
            recorder.begin(works_of(batch, told))
            recorder.go_on(_append)


def _is_event(data: bytes) -> bool:
    try:
        Event.FromString(data)
    except DecodeError:
        return False
    return True


def _restore(root: Path) -> None:
    try:
        with _recorder(root) as recorder:
            recorder.go_on(_append)
            recorder.replica.group.due(1e9)
            recorder.take_emission()
    except RefusedError:
        return


def _append(data: bytes, parts: Sequence[Part]) -> None:
    """Writes nothing."""


@contextmanager
def _recorder(root: Path) -> Iterator[GroupRecorder]:
    group = str(root / "run")
    run = RunState(f"{group}/{JOURNAL_DIRECTORY}", group, "", 1000)
    recorder = GroupRecorder(run, lambda: Group(GroupLimits()), lambda: 0.0, _ROOM_BYTES)
    with Roots([root]).open_run(run.path) as directory:
        file = recorder.open(directory)
        try:
            yield recorder
        finally:
            file.close()


def _records(script: Script) -> bytes:
    """A file: its bytes as they are, or records with the checksums that they must have."""
    if script.number() & _RAW:
        return script.rest()
    records = []
    while script:
        records.append(record(script.part()))
    return b"".join(records)


@contextmanager
def _directory() -> Iterator[Path]:
    path = scratch() / "logs"
    path.mkdir()
    try:
        yield path
    finally:
        shutil.rmtree(path)
