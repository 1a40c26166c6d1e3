"""Addresses: what parses, what does not, and the per-user default."""

from __future__ import annotations

from pathlib import Path

import pytest
from boardd_protos import address
from boardd_protos.address import AddressError, TcpAddress, UnixAddress


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
    ],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert TcpAddress(host, 1).is_loopback is loopback


def test_the_default_is_per_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    assert str(address.default_address()) == "unix:/run/user/7/boardd/boardd.sock"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    monkeypatch.setattr("os.getuid", lambda: 7)
    assert str(address.default_address()) == "unix:/tmp/boardd-7/boardd.sock"
