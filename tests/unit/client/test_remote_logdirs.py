"""A writer's logdir may be a URL, which stays what it is on its way to the daemon."""

from __future__ import annotations

import ast
import fcntl
import os
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boardd_client
import pytest
from boardd_client import SummaryWriter
from boardd_client.transport.daemon_environment import daemon_environment
from boardd_protos.address import UnixAddress
from boardd_protos.socket_owner import SocketOwner, lock_path

URL = "s3://bucket/runs"
CLIENT = Path(boardd_client.__file__).parent
#: Calls that would make a local directory of a URL, and where they get none.
LOCAL_CALLS = {"abspath", "normpath", "realpath", "makedirs", "mkdir"}
OF_NO_LOGDIR = {
    ("environment.py", "abspath"),  # files of certificates and tokens
    ("transport/daemon_environment.py", "abspath"),  # of modules and settings
    ("transport/autostart.py", "abspath"),  # of the daemon's program
    ("transport/roots.py", "normpath"),  # local logdirs alone come there
    ("transport/roots.py", "realpath"),
    ("hooks/lightning.py", "makedirs"),  # likewise
}


@pytest.fixture
def address(runtime_directory: Path) -> UnixAddress:
    return UnixAddress(runtime_directory / "s")


@pytest.fixture
def owner(request: pytest.FixtureRequest, address: UnixAddress) -> Iterator[None]:
    """A daemon that says of itself what the parameter is, and answers nobody."""
    with open(lock_path(address.path), "wb") as file:
        file.write(request.param)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def says(*urls: str, roots: tuple[str, ...] = ("/srv",), **obstacles: Any) -> bytes:
    return SocketOwner(1, roots=roots, remote_roots=urls, **obstacles).encode()


def test_a_url_is_what_the_writer_says_it_is(
    address: UnixAddress, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOARDD_AUTOSTART", "0")
    for where in (str(address), "localhost:1"):
        writer = SummaryWriter("S3://bucket//runs/", address=where)
        assert writer.get_logdir() == URL
        assert pickle.loads(pickle.dumps(writer)).get_logdir() == URL
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("logdir", [Path(URL), "file:///tmp/x", "s3://", "s3://k:pw@b/x"])
def test_what_can_be_no_logdir_is_refused(logdir: str | Path, address: UnixAddress) -> None:
    with pytest.raises(ValueError, match="logdir"):
        SummaryWriter(logdir, address=str(address))


@pytest.mark.parametrize(
    "owner", [says(URL), says("*", scheme_obstacles={"gs": "no"}), b"no daemon's\n"], indirect=True
)
@pytest.mark.usefixtures("owner")
def test_a_daemon_that_writes_there_is_taken(address: UnixAddress) -> None:
    SummaryWriter(f"{URL}/one", address=str(address))


@pytest.mark.parametrize(
    ("owner", "message"),
    [
        (says("s3://bucket/other"), "writes only below /srv and s3://bucket/other"),
        (says(), "add s3://bucket/runs/one to the daemon's BOARDD_LOGDIR_ROOT"),
        (says(roots=("/",)), "writes only below /; "),
        (says("*", remote_obstacle="pip install it"), "cannot write there: pip install it"),
        (
            says("*", scheme_obstacles={"s3": "pip install it"}),
            "cannot write there: pip install it",
        ),
        (b'{"pid": 1, "is_autostarted": true, "roots": ["/"]}\n', "writes local directories only"),
    ],
    indirect=["owner"],
)
@pytest.mark.usefixtures("owner")
def test_a_daemon_that_does_not_is_refused(address: UnixAddress, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SummaryWriter(f"{URL}/one", address=str(address))


def test_nothing_in_the_client_makes_a_local_path_of_a_logdir() -> None:
    found = {
        (os.fspath(path.relative_to(CLIENT)), node.func.attr)
        for path in CLIENT.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        if node.func.attr in LOCAL_CALLS
    }
    assert found == OF_NO_LOGDIR


def test_a_daemon_that_is_started_finds_the_credentials_of_its_user() -> None:
    given = {
        "AWS_PROFILE": "training",
        "GOOGLE_APPLICATION_CREDENTIALS": "/keys.json",
        "FSSPEC_S3_ENDPOINT_URL": "https://store",
        "HTTPS_PROXY": "http://proxy",
        "WANDB_API_KEY": "not this",
    }
    taken = daemon_environment(given)
    assert {name for name in given if name in taken} == given.keys() - {"WANDB_API_KEY"}
