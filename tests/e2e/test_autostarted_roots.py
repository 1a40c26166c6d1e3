"""Where a daemon with a wide root writes, and where not."""

from __future__ import annotations

from pathlib import Path

import pytest
from boardd_client import SummaryWriter
from support.daemon_process import DaemonProcess
from support.tensorboard_reader import read_run


@pytest.mark.parametrize(
    ("place", "flag"),
    [(".ssh", "--autostarted"), (".config/systemd/user", "--idle-exit=0")],
)
def test_keys_and_settings_are_left_alone(place: str, flag: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    for name in (".ssh", ".config/systemd/user"):
        (home / name).mkdir(parents=True)
    (home / "link").symlink_to(".ssh")
    flags = (flag, "--logdir-root", "/")
    with DaemonProcess(tmp_path, *flags, environ={"HOME": str(home)}) as daemon:
        with pytest.raises(ValueError, match="leaves that directory alone; choose another"):
            SummaryWriter(home / place / "run", address=daemon.address)
        # What a link hides is found by the daemon.
        with SummaryWriter(home / "link" / "run", address=daemon.address) as refused:
            refused.add_scalar("loss", 1.0, 1)
            assert "leaves alone; choose another" in refused.flush(timeout=60).reason
        with SummaryWriter(home / "run", address=daemon.address) as sw:
            sw.add_scalar("loss", 1.0, 1)
            assert sw.flush(timeout=60)
    assert read_run(home / "run").scalars["loss"]
    assert not any(path.is_file() for path in (*home.glob(".*/**/*"), *home.glob("link/**/*")))
