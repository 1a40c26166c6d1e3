"""A daemon is scraped as Prometheus does, and logs an object a line."""

from __future__ import annotations

import json
import socket
import urllib.request
from pathlib import Path

import numpy as np
from boardd_client import SummaryWriter
from prometheus_client.parser import text_string_to_metric_families
from support.commands import assert_refused, boardd
from support.daemon_process import DaemonProcess


def scraped(url: str) -> dict[str, dict[str, float]]:
    """Values by name, and by the value of their only label but a bucket's."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        text = answer.read().decode()
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            label = next((value for key, value in sample.labels.items() if key != "le"), "")
            found.setdefault(sample.name, {})[label] = sample.value
    return found


def test_a_scrape_tells_what_was_logged_and_the_log_is_json(tmp_path: Path) -> None:
    flags = ("--metrics", "127.0.0.1:0", "--log-format", "auto")
    with DaemonProcess(tmp_path, *flags, environ={"BOARDD_LOG_FORMAT": ""}) as daemon:
        url = daemon.wait_log(r"metrics are at (http://[\d.:]+/metrics)")[1]
        with SummaryWriter(str(daemon.logdir / "run"), address=daemon.address) as writer:
            for step in range(10):
                writer.add_scalar("loss", 0.5, step)
            writer.add_histogram("weights", np.arange(1000.0), 0)
            assert writer.flush(timeout=60)
            found = scraped(url)
        assert found["boardd_records_written_total"][""] == 11
        assert found["boardd_records_pending"][""] == 0
        assert found["boardd_run_series"][str(daemon.logdir / "run")] == 2
        assert found["boardd_sessions"] == {"attached": 1, "away": 0}
        assert found["boardd_work_duration_seconds_count"]["reduction"] == 1
        assert found["boardd_budget_held"]["max-runs"] == 1
        assert found["boardd_resident_memory_bytes"][""] > 1e6
        with socket.create_connection(daemon_port(url)):  # who asks nothing holds no end up
            assert daemon.terminate() == 0
        lines = [json.loads(line) for line in daemon.log.splitlines()]
    assert {line["level"] for line in lines} <= {"info", "warning"}
    assert any("listening on" in line["message"] for line in lines)


def test_what_ends_the_daemon_at_its_start_is_a_line_of_its_log(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        path = tmp_path / "boardd.sock"
        result = boardd("--socket", str(path), "--listen", place, BOARDD_LOG_FORMAT="json")
    assert result.returncode == 4
    (line,) = map(json.loads, result.stderr.splitlines())
    assert (line["level"], line["logger"]) == ("critical", "boardd")
    assert line["message"].startswith(f"--listen {place}: another process has this port")


def daemon_port(url: str) -> tuple[str, int]:
    host, _, port = url.removeprefix("http://").partition("/")[0].partition(":")
    return host, int(port)


def test_metrics_are_for_this_host_only() -> None:
    assert_refused(boardd("--metrics", "0.0.0.0:9654"), 2, "--metrics 0.0.0.0:9654: other hosts")
