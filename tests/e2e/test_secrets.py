"""Tokens and keys get into no log, no status, no command line and no error."""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from boardd_client.transport import autostart
from boardd_protos import local_socket
from boardd_protos.address import UnixAddress
from support.certificates import Authority
from support.commands import boardd
from support.daemon_process import DaemonProcess

#: As the daemon has it, and as a client that has another one.
RIGHT = "Zr8vQ1nX5yKd7Tw2right"
WRONG = "Hp4mB6uLs9Jc3Fe0wrong"

#: Tries everything that fails, as a trainer that logs all that there is to know.
TRAINER = """
import logging, os, sys, traceback
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
from boardd_client import SummaryWriter

def fails(address, forks=False, **environ):
    if os.fork():  # writers of one process and address share a connection
        os.wait()
        return
    try_in_vain(address, environ)
    if forks and os.fork() == 0:
        try_in_vain(address, environ)
    elif forks:
        os.wait()
    sys.stdout.flush()
    os._exit(0)

def try_in_vain(address, environ):
    for name in list(os.environ):
        if name.startswith(("BOARDD_TOKEN", "BOARDD_TLS")):
            del os.environ[name]
    os.environ.update(environ)
    print("case", address, sorted(environ), flush=True)
    try:
        sw = SummaryWriter("run", address=address)
        sw.add_scalar("loss", 1.0, 1)
        for _ in range(3):
            result = sw.flush(timeout=1.0)
            print(repr(result), result.reason, flush=True)
            assert not result
        print(sw, vars(sw), sw.statistics(), sw._settings.access, flush=True)
        sw.close(timeout=0)
    except ValueError as error:
        print(repr(error), error.args, flush=True)
        traceback.print_exc(file=sys.stdout)

tls, clear, file, wrong_file, ca, key = sys.argv[1:]
right, wrong = open(file).read(), open(wrong_file).read()
fails(clear, forks=True, BOARDD_TOKEN=wrong)
fails(clear, BOARDD_TOKEN_FILE=wrong_file)
fails(clear, BOARDD_TOKEN=f"{right} {wrong}")
fails(clear, BOARDD_TOKEN=right + chr(233))
fails(tls, BOARDD_TOKEN=right)
fails(tls, BOARDD_TOKEN=wrong, BOARDD_TLS_CA=ca)
fails(tls, BOARDD_TOKEN=right, BOARDD_TLS_CA=key)
fails(clear, BOARDD_TOKEN=right, BOARDD_TLS_CA=ca)
fails("192.0.2.1:1", BOARDD_TOKEN=right)
fails("192.0.2.1:1", BOARDD_TOKEN_FILE=file)
"""


def forms(secret: str) -> Iterator[str]:
    """``secret`` as text, in hexadecimal and in base64, whatever stands before it."""
    yield secret
    yield secret.encode().hex()
    yield secret[::-1]
    for shift in range(3):
        encoded = base64.b64encode(b"x" * shift + secret.encode())
        yield encoded[4:-4].decode()


def assert_kept(text: str, *secrets: str) -> None:
    """Checks that ``text`` shows none of ``secrets``, in no form."""
    for secret in secrets:
        for form in forms(secret):
            assert form not in text, f"{form} in: ...{text[max(0, text.index(form) - 200) :][:400]}"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for path, token in ((right, RIGHT), (wrong, WRONG)):
        path.touch(mode=0o600)
        path.write_text(token)
    return right, wrong


def of_process(pid: int) -> str:
    """What other processes of the user can see of one."""
    process = Path("/proc", str(pid))
    return "".join((process / name).read_text(errors="replace") for name in ("cmdline", "environ"))


@pytest.mark.slow
def test_failures_of_every_kind_show_no_secret(files: tuple[Path, Path], tmp_path: Path) -> None:
    right, wrong = files
    authority = Authority(tmp_path)
    server = authority.sign("server")
    key_text = Path(server.key).read_text().splitlines()[1]
    flags = ("--listen", "localhost:0", "--token-file", str(right), "--log-level", "debug")
    with (
        DaemonProcess(tmp_path, *flags, popen=subprocess.Popen) as clear,
        DaemonProcess(
            tmp_path,
            *flags,
            *("--tls-cert", server.chain, "--tls-key", server.key),
            popen=subprocess.Popen,
        ) as tls,
    ):
        trainer = subprocess.run(
            [
                *(sys.executable, "-c", TRAINER, tls.tcp_address, clear.tcp_address),
                *(str(right), str(wrong), authority.certificate, server.key),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={**os.environ, "BOARDD_EXIT_TIMEOUT_SECS": "0"},
        )
        said = trainer.stdout + trainer.stderr
        assert trainer.returncode == 0, said
        assert said.count("case ") == 11
        for expected in (
            "UNAUTHENTICATED",
            "printable ASCII",
            "would cross the network",
            "hung up",
        ):
            assert expected in said
        for daemon in (clear, tls):
            for arguments in (
                ("--json",),
                ("--token-file", str(wrong), "--address", daemon.tcp_address),
            ):
                result = boardd("status", *arguments, BOARDD_ADDRESS=daemon.address)
                said += result.stdout + result.stderr
            said += daemon.log + of_process(daemon.pid)
        assert "token missing or wrong" in clear.log
    assert_kept(said, RIGHT, WRONG, key_text)


def test_a_daemon_that_refuses_its_settings_shows_no_secret(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    right, _ = files
    key = Authority(tmp_path).sign("server").key
    short = tmp_path / "short"
    short.write_text(RIGHT[:15])
    said = ""
    for flags in (
        ("--token-file", key),
        ("--token-file", str(short)),
        ("--tls-cert", str(right), "--tls-key", key),
        ("--tls-cert", key, "--tls-key", str(right)),
        ("--config", str(right)),
        ("--forward-to", "192.0.2.1:1", "--forward-token-file", str(right)),
        ("--forward-to", "localhost:1", "--forward-ca", key),
    ):
        result = boardd("--socket", str(tmp_path / "s"), "--listen", "127.0.0.1:0", *flags)
        assert result.returncode == 2, flags
        said += result.stdout + result.stderr
    assert_kept(said, RIGHT, RIGHT[:15], Path(key).read_text().splitlines()[1])


def test_an_autostarted_daemon_knows_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOARDD_TOKEN", RIGHT)
    monkeypatch.setenv("BOARDD_LOG_LEVEL", "debug")
    address = UnixAddress(tmp_path / "runtime" / "boardd.sock")
    autostart.ensure_daemon(address, 60.0)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(os.fspath(address.path))
            pid = local_socket.peer_credentials(connection).pid
        assert_kept(of_process(pid), RIGHT)
    finally:
        assert boardd("stop", "--socket", str(address.path)).returncode == 0
    log = address.path.with_name("boardd.log").read_text()
    assert "listening on" in log
    assert_kept(log, RIGHT)
