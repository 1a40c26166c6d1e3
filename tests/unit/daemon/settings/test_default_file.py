"""The user's file of settings, if it or what is above it is closed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from boardd.errors import ConfigError
from boardd.settings.config import Config
from boardd.settings.sources import load

#: One without rights.
USER = os.geteuid() or 65534


@contextlib.contextmanager
def as_a_user() -> Iterator[None]:
    """Runs the body without the rights of root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(USER)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_of_the_users_own_that_cannot_be_read_is_wrong(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as base:
        file = Path(base) / "boardd" / "config.toml"
        file.parent.mkdir()
        file.write_text("nice = 3")
        for path in (Path(base), file.parent, file):
            os.chown(path, USER, -1)
            path.chmod(0o700)
        environ = {"XDG_CONFIG_HOME": base}
        with as_a_user():
            assert load([], environ).nice == 3
            for path in (file, file.parent, Path(base)):
                path.chmod(0)
                for flags in ([], ["--autostarted"]):
                    with pytest.raises(ConfigError, match=f"{file}: Permission denied; make it"):
                        load(flags, environ)
                assert load(["--config", "/dev/null"], environ).nice == Config().nice
                path.chmod(0o700)
    assert not caplog.messages


def test_a_file_beneath_what_is_another_users_is_left_out_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path if os.geteuid() == 0 else Path("/root")
    with as_a_user():
        assert load([], {"HOME": str(home)}).nice == Config().nice
    assert caplog.messages == [
        f"no settings from {home}/.config/boardd/config.toml: Permission denied"
    ]
