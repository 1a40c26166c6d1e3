"""Tokens and certificates that are refused before anything is served."""

from __future__ import annotations

from pathlib import Path

import pytest
from boardd.errors import ConfigError
from boardd.rpc.auth import is_open_to_others, read_token, server_credentials


def test_white_space_around_a_token_is_not_part_of_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("  0123456789abcdef \r\n")
    assert read_token(path) == "0123456789abcdef"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "0 characters; at least 16"),
        (b"\n\n", "0 characters"),
        (b"0123456789abcde\n", "15 characters"),
        (b"0123456789 abcdef", "printable ASCII without spaces"),
        (b"0123456789\nabcdef", "printable ASCII"),
        ("0123456789abcdéf".encode(), "printable ASCII"),
        (b"0123456789abcdef\x00", "printable ASCII"),
    ],
)
def test_tokens_that_could_be_guessed_or_not_be_sent_are_refused(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"{path}: .*{message}") as caught:
        read_token(path)
    assert "0123" not in str(caught.value), "a token must not get into a log"


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    path = tmp_path / "missing"
    with pytest.raises(ConfigError, match=f"token file {path}: No such file"):
        read_token(path)
    with pytest.raises(ConfigError, match=f"TLS certificate {path}: No such file"):
        server_credentials(path, path)
    with pytest.raises(ConfigError, match=f"token file {tmp_path}: Is a directory"):
        read_token(tmp_path)


def test_files_in_the_wrong_place_are_named(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate", tmp_path / "key"
    certificate.write_text("-----BEGIN CERTIFICATE-----\n")
    key.write_text("-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(ConfigError, match=f"TLS certificate {key}: no PEM certificate"):
        server_credentials(key, key)
    with pytest.raises(ConfigError, match=f"TLS key {certificate}: no PEM private key"):
        server_credentials(certificate, certificate)


@pytest.mark.parametrize(("mode", "is_open"), [(0o600, False), (0o640, False), (0o644, True)])
def test_a_token_for_everyone_is_noticed(mode: int, is_open: bool, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch()
    path.chmod(mode)
    assert is_open_to_others(path) is is_open
