"""Addresses: what parses, what does not, and the per-user default."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from boardd_protos import address
from boardd_protos.address import AddressError, TcpAddress, UnixAddress
from support.tools import require_root


@pytest.mark.parametrize(
    ("text", "parsed", "target"),
    [
        ("unix:/run/b.sock", UnixAddress(Path("/run/b.sock")), "unix:/run/b.sock"),
        ("unix:///run/b.sock", UnixAddress(Path("/run/b.sock")), "unix:/run/b.sock"),
        ("localhost:6007", TcpAddress("localhost", 6007), "localhost:6007"),
        ("10.0.0.7:0", TcpAddress("10.0.0.7", 0), "10.0.0.7:0"),
        ("[::1]:80", TcpAddress("::1", 80), "[::1]:80"),
    ],
)
def test_parse(text: str, parsed: address.Address, target: str) -> None:
    assert address.parse(text) == parsed
    assert parsed.target == target
    assert address.parse(str(parsed)) == parsed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unix:",
        "unix:relative.sock",
        "unix:/" + "x" * 107,
        "host",
        "host:",
        ":80",
        "h:65536",
        "h:-1",
        "h:٣",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(AddressError, match="address"):
        address.parse(text)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("localhost", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("127.example.com", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert TcpAddress(host, 1).is_loopback is loopback


@pytest.fixture
def fallback(monkeypatch: pytest.MonkeyPatch) -> str:
    """The default where there is no runtime directory."""
    monkeypatch.setattr("os.getuid", lambda: 7)
    return "unix:/tmp/boardd-7/boardd.sock"


def test_the_default_is_per_user(
    fallback: str, runtime_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        assert str(address.default_address()) == f"unix:{runtime_directory}/boardd/boardd.sock"
        (runtime_directory / "boardd").mkdir(0o700, exist_ok=True)
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert str(address.default_address()) == fallback
    monkeypatch.setenv("XDG_RUNTIME_DIR", "relative")
    assert str(address.default_address()) == fallback


def missing(base: Path) -> None:
    base.rmdir()


def no_directory(base: Path) -> None:
    base.rmdir()
    base.touch()


def of_another_user(base: Path) -> None:
    require_root()
    os.chown(base, 12345, -1)


def with_a_directory_of_another_user(base: Path) -> None:
    require_root()
    (base / "boardd").mkdir(0o700)
    os.chown(base / "boardd", 12345, -1)


def with_a_directory_open_to_others(base: Path) -> None:
    (base / "boardd").mkdir()
    (base / "boardd").chmod(0o755)


def with_a_symlink(base: Path) -> None:
    (base / "boardd").symlink_to(base)


@pytest.mark.parametrize(
    "make",
    [
        missing,
        no_directory,
        of_another_user,
        with_a_directory_of_another_user,
        with_a_directory_open_to_others,
        with_a_symlink,
    ],
)
def test_a_runtime_directory_that_is_not_ours_to_use_is_passed_over(
    make: Callable[[Path], None],
    fallback: str,
    runtime_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = runtime_directory / "stale"
    base.mkdir(0o700)
    make(base)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    assert str(address.default_address()) == fallback


@pytest.mark.parametrize("has_directory", [False, True])
def test_a_runtime_directory_that_cannot_be_written_is_passed_over(
    has_directory: bool,
    fallback: str,
    runtime_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_root()
    base = runtime_directory / "read-only"
    base.mkdir(0o700)
    read_only = base / "boardd" if has_directory else base
    read_only.mkdir(0o700, exist_ok=True)
    for path in (base, read_only):
        os.chown(path, 12345, -1)
    runtime_directory.chmod(0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
    os.seteuid(12345)
    try:
        assert str(address.default_address()) == f"unix:{base}/boardd/boardd.sock"
        read_only.chmod(0o500)
        assert str(address.default_address()) == fallback
    finally:
        os.seteuid(0)


def test_a_runtime_directory_whose_sockets_have_too_long_a_path_is_passed_over(
    fallback: str, runtime_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 107 - len(f"{runtime_directory}//boardd/boardd.sock.maps")
    for length, expected in ((room, "x" * room), (room + 1, "")):
        base = runtime_directory / ("x" * length)
        base.mkdir(0o700)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(base))
        found = str(address.default_address())
        assert (found == fallback) == (not expected)
