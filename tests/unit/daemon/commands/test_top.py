"""Rates from two looks at a daemon, and the screen that shows them."""

from __future__ import annotations

import io

import pytest
from boardd.commands.rates import RateMeter, Rates, RunRate
from boardd.commands.top_screen import screen
from boardd_protos import boardd_pb2 as pb
from rich.console import Console


def reply(uptime_secs: float, *runs: pb.RunStatus, pid: int = 1) -> pb.StatusReply:
    written = sum(run.written for run in runs)
    return pb.StatusReply(
        pid=pid,
        uptime_secs=uptime_secs,
        counters=pb.Counters(written=written, written_bytes=10 * written),
        runs=runs,
    )


def run(written: int, pending: int = 0, path: str = "/a") -> pb.RunStatus:
    return pb.RunStatus(path=path, written=written, written_bytes=10 * written, pending=pending)


def test_rates_are_per_second_of_the_daemons_clock() -> None:
    meter = RateMeter()
    assert meter.rates(reply(10, run(100))) == Rates()
    rates = meter.rates(reply(12, run(300, pending=50), run(8, path="/new")))
    assert (rates.records_per_sec, rates.bytes_per_sec) == (104, 1040)
    assert rates.runs == {"/a": RunRate(100, 1000, 0.5), "/new": RunRate(4, 40, 0)}


def test_what_is_stuck_lags_for_as_long_as_it_is() -> None:
    meter = RateMeter()
    lags = [
        meter.rates(reply(at, run(written, pending))).runs.get("/a", RunRate()).lag_secs
        for at, written, pending in [
            (1, 5, 3),
            (2, 5, 3),
            (4, 5, 9),
            (5, 9, 2),
            (6, 9, 0),
            (7, 9, 4),
        ]
    ]
    assert lags == [0, 1, 3, 0.5, 0, 1]


def test_another_daemon_and_a_run_that_was_opened_anew_begin_at_nothing() -> None:
    meter = RateMeter()
    meter.rates(reply(10, run(100)))
    assert meter.rates(reply(1, run(100), pid=2)) == Rates()
    assert meter.rates(reply(2, run(10), pid=2)).runs["/a"].records_per_sec == 0
    assert meter.rates(reply(2, run(10), pid=2)) == Rates()


def shown(status: pb.StatusReply, rates: Rates, max_rows: int = 9, width: int = 120) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(screen(status, rates, max_rows))
    return stream.getvalue()


def test_the_screen_has_what_there_is_most_to_tell_of() -> None:
    group = pb.GroupStatus(directory="/data/job", world_size=8, ranks=7, step_lag=12)
    status = pb.StatusReply(
        logdir_roots=["/data"],
        intake_bytes=1 << 20,
        intake_budget_bytes=4 << 20,
        counters=pb.Counters(dropped_by_client=[pb.DropCount(reason="log_full", records=5)]),
        runs=[
            pb.RunStatus(path="/data/quiet"),
            pb.RunStatus(path="/data/bold [red]name[/red]\n", dropped=5),
            pb.RunStatus(path="/data/job/.boardd-group", group=group, pending=1),
            pb.RunStatus(
                path="/data/full",
                trouble="no space",
                written_bytes=400,
                synced_bytes=300,
                reducing_tag="emb",
                reducing_secs=12.3,
                reducing_about_secs=40.0,
            ),
        ],
    )
    text = shown(status, Rates(12.0, 2048, {"/data/full": RunRate(3.0, 100, 4.5)}), max_rows=3)
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line.split()}
    assert "quiet" not in text
    assert "1 more runs" in text
    assert r"bold [red]name[/red]\n" in text
    assert lines["job"][1:] == [
        "(merging)",
        "7/8",
        "0",
        "0",
        "B",
        "1",
        "12",
        "steps",
        "0",
        "0",
        "B",
        "-",
    ]
    assert lines["full"][2:] == ["3", "100", "B", "0", "4.5", "s", "0", "400", "B", "75%"]
    assert "/data/full: no space" in text
    assert "/data/full: emb is being reduced, for 12 s of about 40 s" in text
    assert "12 records/s, 2.00 KiB/s" in text
    assert "1.00 MiB of 4.00 MiB" in text
    assert "5 dropped by clients" in text


@pytest.mark.parametrize("width", [40, 80])
def test_a_narrow_terminal_cuts_the_names_of_runs(width: int) -> None:
    status = pb.StatusReply(runs=[pb.RunStatus(path="/data/" + "x" * 200, written_bytes=999 << 20)])
    lines = shown(status, Rates(), width=width).splitlines()
    assert max(map(len, lines)) <= width
    if width == 80:
        assert any("999 MiB" in line for line in lines)
