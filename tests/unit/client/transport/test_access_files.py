"""Tokens and certificates that cannot be used are named, and never shown."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from boardd_client.environment import Access, Settings, token_in_clear
from boardd_client.transport.access_files import read_token, tls_files
from boardd_client.transport.connection import ConnectionFailedError
from boardd_protos.address import TcpAddress, parse

SECRET = "0123456789abcdef-secret"


def test_a_token_comes_from_a_file_or_a_variable(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"  {SECRET}\r\n")
    assert read_token(Access.from_environ({})) == ""
    assert read_token(Access.from_environ({"BOARDD_TOKEN_FILE": str(path)})) == SECRET
    environ = {"BOARDD_TOKEN_FILE": str(path), "BOARDD_TOKEN": "of-the-variable\n"}
    assert read_token(Access.from_environ(environ)) == "of-the-variable"


def test_a_change_of_directory_changes_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(SECRET)
    monkeypatch.chdir(tmp_path)
    access = Access.from_environ(
        {
            "BOARDD_TOKEN_FILE": "token",
            "BOARDD_TLS_CA": "ca",
            "BOARDD_TLS_CLIENT_CERT": "cert",
            "BOARDD_TLS_CLIENT_KEY": "key",
        }
    )
    monkeypatch.chdir("/")
    assert read_token(access) == SECRET
    files = (access.tls_ca, access.tls_client_cert, access.tls_client_key)
    assert files == tuple(str(tmp_path / name) for name in ("ca", "cert", "key"))


@pytest.mark.parametrize("content", [b"", b"two words", b"a\nb", "tökén".encode(), b"a\x00b"])
def test_what_is_no_token_is_refused_and_not_shown(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(
        ConnectionFailedError, match=r"BOARDD_TOKEN_FILE=.*printable ASCII"
    ) as caught:
        read_token(Access(token_file=str(path)))
    assert content.decode() not in str(caught.value) or not content
    if content:
        with pytest.raises(
            ConnectionFailedError, match=r"BOARDD_TOKEN: .*printable ASCII"
        ) as caught:
            read_token(Access(token=content.decode()))
        assert content.decode() not in repr(caught.value)


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no PEM")
    missing = str(tmp_path / "missing")
    for access, message in (
        (Access(token_file=missing), "BOARDD_TOKEN_FILE='.*missing': No such file"),
        (Access(token_file=str(tmp_path)), "BOARDD_TOKEN_FILE='.*': Is a directory"),
    ):
        with pytest.raises(ConnectionFailedError, match=message):
            read_token(access)
    for access, message in (
        (Access(tls_ca=missing), "BOARDD_TLS_CA='.*missing': No such file"),
        (Access(tls_ca=str(text)), "BOARDD_TLS_CA='.*text': no PEM certificate"),
        (
            Access(tls_ca=missing, tls_client_cert=str(text), tls_client_key=missing),
            "BOARDD_TLS_CLIENT_CERT='.*text': no PEM certificate",
        ),
    ):
        with pytest.raises(ConnectionFailedError, match=message):
            tls_files(access)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"BOARDD_TLS_CLIENT_CERT": "c", "BOARDD_TLS_CA": "a"}, "go together"),
        ({"BOARDD_TLS_CLIENT_KEY": "k", "BOARDD_TLS_CA": "a"}, "go together"),
        ({"BOARDD_TLS_CLIENT_CERT": "c", "BOARDD_TLS_CLIENT_KEY": "k"}, "needs BOARDD_TLS_CA"),
    ],
)
def test_variables_that_need_others_say_so(environ: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings.from_environ(environ)


@pytest.mark.parametrize("variable", ["BOARDD_TOKEN", "BOARDD_TOKEN_FILE"])
def test_a_token_stays_on_this_host_without_tls(variable: str) -> None:
    access = Access.from_environ({variable: SECRET})
    assert f"{variable}: the token would cross" in token_in_clear(TcpAddress("10.0.0.1", 1), access)
    assert SECRET not in token_in_clear(TcpAddress("10.0.0.1", 1), access)
    for where in ("127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/tmp/s"):
        assert token_in_clear(parse(where), access) == ""
    encrypted = Access.from_environ({variable: SECRET, "BOARDD_TLS_CA": "a"})
    assert token_in_clear(TcpAddress("10.0.0.1", 1), encrypted) == ""
    assert token_in_clear(TcpAddress("10.0.0.1", 1), Access()) == ""


def test_the_settings_do_not_show_the_token() -> None:
    settings = Settings.from_environ({"BOARDD_TOKEN": SECRET})
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings.access)
    assert pickle.loads(pickle.dumps(settings)) == settings
