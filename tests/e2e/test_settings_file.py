"""The settings file of the user, read by a daemon that a client starts, and a changed one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from boardd.commands.control import fetch_status
from boardd_client import SummaryWriter
from boardd_protos.address import default_address
from support.commands import boardd
from support.tensorboard_reader import read_run


def nice_value() -> int:
    return os.getpriority(os.PRIO_PROCESS, fetch_status(default_address()).pid)


def test_a_daemon_is_restarted_with_changed_settings_beneath_its_writers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings" / "boardd" / "config.toml"
    file.parent.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    file.write_text(f'logdir-root = "{tmp_path}"\nnice = 11\n')
    with SummaryWriter(tmp_path / "run") as sw:
        sw.add_scalar("loss", 1.0, 1)
        assert sw.flush(timeout=60)
        assert nice_value() == 11
        # The file's root counts: the daemon does not write wherever its user may.
        assert list(fetch_status(default_address()).logdir_roots) == [str(tmp_path)]
        file.write_text(f'logdir-root = "{tmp_path}"\nnice = 12\n')
        assert boardd("stop").returncode == 0
        sw.add_scalar("loss", 2.0, 2)
        assert sw.flush(timeout=60)
        assert nice_value() == 12
        # A wrong one is told before the restart.
        file.write_text("nise = 12\n")
        assert boardd("config").returncode == 2
        file.write_text("nice = 13\n")
        told = boardd("config")
        assert told.returncode == 0, told.stderr
        assert ["nice", "13", str(file)] in [line.split() for line in told.stdout.splitlines()]
    assert [(one.step, one.value) for one in read_run(tmp_path / "run").scalars["loss"]] == [
        (1, 1.0),
        (2, 2.0),
    ]
