"""The status of a daemon as text and as JSON."""

from __future__ import annotations

import json

import pytest
from boardd.commands.quantities import duration, size
from boardd.commands.status_text import render, to_json
from boardd_protos import boardd_pb2 as pb


def reply() -> pb.StatusReply:
    return pb.StatusReply(
        version="1.2.3",
        pid=77,
        started_at=1700000000.5,
        uptime_secs=7384,
        logdir_roots=["/data/a", "/data/b"],
        addresses=["unix:/run/s", "127.0.0.1:7654"],
        rss_bytes=90 << 20,
        intake_bytes=1536,
        intake_budget_bytes=512 << 20,
        counters=pb.Counters(
            accepted=12000,
            written=11990,
            pending=7,
            rejected=[pb.RejectCount(reason=pb.INVALID_TENSOR, records=3)],
            duplicates=5,
            written_bytes=2 << 40,
            dropped_by_client=[pb.DropCount(reason="arena full", records=9, size_bytes=20 << 20)],
        ),
        sessions=[
            pb.SessionStatus(
                number=7,
                hostname="node1",
                pid=42,
                program="train.py",
                attached=True,
                received_sequence=12000,
                written_sequence=11993,
                map_bytes=264 << 20,
                counters=pb.Counters(
                    dropped_by_client=[
                        pb.DropCount(reason="arena_full", records=8000),
                        pb.DropCount(reason="log_full", records=2),
                    ]
                ),
            )
        ],
        runs=[
            pb.RunStatus(
                path="/data/a/run",
                file="events.out.tfevents.1",
                written_bytes=5000,
                pending=7,
                trouble="no space left",
                series=2,
                steps_backwards=1,
                dropped=7654,
            ),
            pb.RunStatus(path="/data/a/other"),
            pb.RunStatus(
                path="/data/a/job/.boardd-group",
                group=pb.GroupStatus(
                    directory="/data/a/job",
                    world_size=8,
                    ranks=7,
                    last_rank=3,
                    step_lag=12,
                    open_points=1234,
                    open_bytes=2 << 20,
                    late=5,
                    rejected=[pb.RejectCount(reason=pb.RUN_REFUSED, records=6)],
                    kind_conflicts=2,
                    backlog_bytes=3 << 20,
                ),
            ),
            pb.RunStatus(
                path="/data/a/all",
                forwarding="forwarding to logs:1, 12 entries behind",
                reducing_tag="emb",
                reducing_secs=2.5,
            ),
        ],
    )


def test_every_figure_is_in_the_text() -> None:
    text = render(reply())
    for phrase in (
        "boardd 1.2.3, pid 77, up 2 h 3 min, 90.0 MiB resident",
        "unix:/run/s",
        "  /data/a/all: forwarding to logs:1, 12 entries behind",
        "  /data/a/all: emb is being reduced, for 2 s",
        "  /data/a/job (merged)",
        "  /data/a/job: 7 of 8 ranks, rank 3 is last, 12 steps behind, "
        "1,234 points wait (2.00 MiB), "
        "5 late, 6 rejected by their files, 2 of another kind at another host left out, "
        "3.00 MiB to be passed on",
        "127.0.0.1:7654",
        "/data/a",
        "/data/b",
        "1.50 KiB of 512 MiB",
        "12,000 accepted = 11,990 written (2.00 TiB) + 3 rejected + 7 pending",
        "5 sent again",
        "3 INVALID_TENSOR",
        "9 by clients, arena full (20.0 MiB)",
        "sessions: 1",
        "session  host   pid  program",
        "7        node1  42   train.py",
        "attached  264 MiB",
        "11,993",
        "8,000 arena_full, 2 log_full",
        "7,654",
        "runs: 4",
        "events.out.tfevents.1",
        "trouble:\n  /data/a/run: no space left",
    ):
        assert phrase in text
    assert "/data/a/other:" not in text, "a run without trouble is not listed under it"


def test_an_idle_daemon() -> None:
    text = render(pb.StatusReply(version="1", pid=1))
    assert "sessions: none\nruns: none\ntrouble: none" in text
    assert "\nrejected " not in text
    assert "\ndropped " not in text


def test_names_of_clients_cannot_steer_the_terminal() -> None:
    message = reply()
    message.sessions[0].program = "evil\x1b[2Jname\nboardd 9.9.9"
    text = render(message)
    assert "\x1b" not in text
    assert not any(line.startswith("boardd 9.9.9") for line in text.splitlines())


def test_json_holds_every_field_with_its_own_type() -> None:
    data = json.loads(to_json(reply()))
    assert set(data) == {field.name for field in pb.StatusReply.DESCRIPTOR.fields}
    assert data["counters"]["accepted"] == 12000
    assert data["counters"]["rejected"] == [{"reason": "INVALID_TENSOR", "records": 3}]
    assert data["sessions"][0]["number"] == 7
    assert data["sessions"][0]["attached"] is True
    assert data["addresses"] == ["unix:/run/s", "127.0.0.1:7654"]
    assert data["started_at"] == 1700000000.5
    empty = json.loads(to_json(pb.StatusReply()))
    assert (empty["runs"], empty["pid"], empty["counters"]["written"]) == ([], 0, 0)


@pytest.mark.parametrize(
    ("secs", "text"),
    [
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (90061, "1 d 1 h"),
        (1e7, "115 d 17 h"),
    ],
)
def test_durations(secs: float, text: str) -> None:
    assert duration(secs) == text


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1023, "1.00 KiB"),
        (1536, "1.50 KiB"),
        (15 << 20, "15.0 MiB"),
        (1 << 50, "1024 TiB"),
    ],
)
def test_sizes_in_text(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


def test_a_screen_has_the_runs_that_there_is_most_to_tell_of() -> None:
    runs = [pb.RunStatus(path=f"/runs/{number:03}") for number in range(100)]
    runs[3].trouble = "no space left"
    runs[5].pending = 7
    text = render(pb.StatusReply(runs=runs), max_rows=4)
    shown = [line.split()[0] for line in text.splitlines() if line.startswith("  /runs/")]
    assert shown == ["/runs/003", "/runs/005", "/runs/098", "/runs/099", "/runs/003:"]
    assert "runs: 100, 4 of them shown; --all shows every one" in text
    assert len(render(pb.StatusReply(runs=runs), max_rows=1000).splitlines()) > 100


def test_what_has_lost_most_is_shown_first_however_few_the_reasons() -> None:
    few = [
        pb.RejectCount(reason=reason, records=1)
        for reason in (pb.INVALID_TENSOR, pb.INVALID_RECORD)
    ]
    many = [pb.RejectCount(reason=pb.INVALID_TENSOR, records=9)]
    runs = [
        pb.RunStatus(path="/runs/many", rejected=many),
        pb.RunStatus(path="/runs/few", rejected=few),
    ]
    sessions = [
        pb.SessionStatus(program=name, counters=pb.Counters(rejected=rejected))
        for name, rejected in (("many.py", many), ("few.py", few))
    ]
    text = render(pb.StatusReply(runs=runs, sessions=sessions), max_rows=1)
    assert "/runs/many" in text
    assert "many.py" in text
    runs[1].dropped = 100
    assert "/runs/few" in render(pb.StatusReply(runs=runs), max_rows=1)


def test_clients_of_other_versions_are_told_of_in_the_text() -> None:
    sessions = [
        pb.SessionStatus(number=number, client_version=version)
        for number, version in enumerate(("1.10.0", "1.9.4", ""))
    ]
    text = render(pb.StatusReply(version="1.10.0", sessions=sessions))
    assert text.count("its client is boardd") == 1
    assert "session 1: its client is boardd 1.9.4" in text


def test_json_is_one_line_for_each_look() -> None:
    assert "\n" not in to_json(reply(), indent=None)
    assert json.loads(to_json(reply(), indent=None)) == json.loads(to_json(reply()))


def test_a_store_is_told_with_what_it_lacks_and_why() -> None:
    store = pb.StoreStatus(url="s3://b", shipped_files=1, shipped_bytes=1024)
    text = render(pb.StatusReply(stores=[store]))
    assert "  s3://b: 1 file (1.00 KiB) shipped, nothing waits" in text
    assert "trouble: none" in text
    store.pending_files, store.pending_bytes, store.oldest_secs = 2, 2048, 40.0
    store.last_error, store.retry_secs = "s3://b/x: no such bucket", 8.0
    text = render(pb.StatusReply(stores=[store]))
    assert "2.00 KiB not there yet, the oldest for 40 s; closed files among them: 2" in text
    assert "  s3://b cannot be reached, next try in 8 s: s3://b/x: no such bucket" in text
