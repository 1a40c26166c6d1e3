"""A run says where it came from, whatever becomes of the script that logs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.service_reading import events_of

SCRIPT = """
import sys
from boardd_client import SummaryWriter
sw = SummaryWriter("logs/run", address=sys.argv[1], system_metrics=False, verbose=False)
sw.add_scalar("loss", 0.5, 3)
"""


def texts(run: Path) -> list[str]:
    return [
        value.tensor.string_val[0].decode()
        for path in run.glob("*tfevents*")
        for event in events_of(path)
        for value in event.summary.value
        if value.tag == "boardd/provenance"
    ]


def test_a_script_that_never_closes_tells_once(daemon: DaemonProcess, tmp_path: Path) -> None:
    environ = {key: value for key, value in os.environ.items() if key != "BOARDD_PROVENANCE"}
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), daemon.address, "--token", "hidden"],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    (text,) = texts(tmp_path / "logs" / "run")
    assert f"train.py {daemon.address} --token '***'" in text
    assert "hidden" not in text
    assert "numpy==" in text


def test_a_writer_tells_before_it_is_closed_and_once(daemon: DaemonProcess, tmp_path: Path) -> None:
    sw = SummaryWriter(tmp_path / "logs" / "run", address=daemon.address, provenance=True)
    for step in range(2):
        sw.add_scalar("loss", 0.5, step)
        assert sw.close()
        sw.reopen()
    sw.close()
    with SummaryWriter(tmp_path / "logs" / "other", address=daemon.address) as other:
        other.add_scalar("loss", 0.5, 0)
    assert len(texts(tmp_path / "logs" / "run")) == 1
    assert texts(tmp_path / "logs" / "other") == []
