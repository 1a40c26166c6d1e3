from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from boardd.core.refusals import RefusedError
from boardd.runs.directories.disk_full import DiskFullError
from boardd.runs.directories.logdir import Roots
from boardd.runs.directories.run_lock import RunLockedError
from boardd_protos import boardd_pb2 as pb
from boardd_protos.tags import MAX_NAME_BYTES
from support.tools import tmpfs

# <fcntl.h> and <linux/fs.h>
AT_FDCWD = -100
RENAME_EXCHANGE = 2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def roots(root: Path) -> Roots:
    return Roots([root])


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def refusal(roots: Roots, *names: str) -> RefusedError:
    """The refusal of a run; checks that no descriptor is left behind."""
    before = open_descriptors()
    with pytest.raises(RefusedError) as caught:
        roots.open_run(*names)
    assert open_descriptors() == before
    return caught.value


def where(fd: int) -> Path:
    return Path(os.readlink(f"/proc/self/fd/{fd}"))


@pytest.mark.parametrize(
    ("names", "beneath"),
    [
        (["run"], "run"),
        (["a/b/c"], "a/b/c"),
        (["a", "b", "rank_0"], "a/b/rank_0"),
        (["a", "", "loss/train"], "a/loss/train"),
        (["./a//b/"], "a/b"),
        (["."], ""),
        (["größe", "損失"], "größe/損失"),
        (["n" * MAX_NAME_BYTES], "n" * MAX_NAME_BYTES),
        (["...", ".hidden"], ".../.hidden"),
    ],
    ids=lambda value: "/".join(value)[:20] if isinstance(value, list) else "",
)
def test_run_is_made_beneath_the_root(
    roots: Roots, root: Path, names: list[str], beneath: str
) -> None:
    expected = root / beneath
    assert roots.resolve(*names) == expected
    assert expected == root or not expected.exists()
    with roots.open_run(*names) as run:
        assert run.path == expected
        assert where(run.fd) == expected
        assert expected.is_dir()


def test_absolute_logdir(roots: Roots, root: Path) -> None:
    with roots.open_run(str(root / "a"), "b") as run:
        assert where(run.fd) == root / "a" / "b"
    with roots.open_run("/" + str(root / "a")) as run:  # two leading slashes
        assert run.path == root / "a"


def test_any_root_will_do_and_relative_goes_to_the_first(tmp_path: Path) -> None:
    roots = Roots([tmp_path / "first", tmp_path / "second"])
    with roots.open_run(str(tmp_path / "second" / "x")) as run:
        assert run.path == tmp_path / "second" / "x"
    with roots.open_run("x") as run:
        assert run.path == tmp_path / "first" / "x"


def test_missing_root_is_made(tmp_path: Path) -> None:
    with Roots([tmp_path / "not" / "yet"]).open_run("x") as run:
        assert where(run.fd) == tmp_path / "not" / "yet" / "x"


def test_slash_may_be_the_root(tmp_path: Path) -> None:
    with Roots(["/"]).open_run(str(tmp_path / "x"), "y") as run:
        assert where(run.fd) == tmp_path / "x" / "y"
    assert Roots(["//"]).paths == (Path("/"),)


def test_root_may_be_reached_through_a_link(tmp_path: Path, root: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    roots = Roots([tmp_path / "link"])
    assert roots.paths == (root,)
    for logdir in ("x", str(tmp_path / "link" / "x"), str(root / "x")):
        with roots.open_run(logdir) as run:
            assert run.path == root / "x"


@pytest.mark.parametrize("paths", [[], ["relative"], ["/ok", "relative/too"]])
def test_roots_must_be_absolute(paths: list[str]) -> None:
    with pytest.raises(ValueError, match="root"):
        Roots(paths)


@pytest.mark.parametrize(
    "names",
    [
        [".."],
        ["../sibling"],
        ["a/../../sibling"],
        ["a/../b"],
        ["a", ".."],
        ["a", "b/../../../x"],
        ["/etc"],
        ["/"],
    ],
    ids="/".join,
)
def test_nothing_outside_the_roots(roots: Roots, root: Path, names: list[str]) -> None:
    refused = refusal(roots, *names)
    assert refused.reason == pb.OUTSIDE_ROOTS
    assert list(root.iterdir()) == []
    assert [path.name for path in root.parent.iterdir()] == ["root"]


def test_name_that_merely_begins_like_the_root_is_outside(roots: Roots, root: Path) -> None:
    refused = refusal(roots, f"{root}2/x")
    assert refused.reason == pb.OUTSIDE_ROOTS
    assert f"{root}2/x" in str(refused)
    assert str(root) in str(refused)


def test_links_that_lead_out_are_refused(roots: Roots, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "out").symlink_to(outside)
    (root / "dangling").symlink_to(tmp_path / "nowhere")
    (root / "up").symlink_to("..")
    for names in (["out"], ["out", "x"], ["dangling"], ["dangling/x"], ["up", "outside"]):
        assert refusal(roots, *names).reason == pb.OUTSIDE_ROOTS
    assert str(outside) in str(refusal(roots, "out"))
    assert list(outside.iterdir()) == []
    assert not (tmp_path / "nowhere").exists()


def test_links_that_stay_inside_are_followed(roots: Roots, root: Path) -> None:
    (root / "real").mkdir()
    (root / "link").symlink_to("real")
    (root / "later").symlink_to(root / "not yet")
    with roots.open_run("link/x") as run:
        assert run.path == root / "real" / "x"
    with roots.open_run("later", "x") as run:
        assert run.path == root / "not yet" / "x"


def test_link_loop_is_refused(roots: Roots, root: Path) -> None:
    (root / "a").symlink_to("b")
    (root / "b").symlink_to("a")
    assert refusal(roots, "a", "x").reason == pb.OUTSIDE_ROOTS


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    "make",
    [lambda path: path.write_text("x"), os.mkfifo, _socket],
    ids=["file", "fifo", "socket"],
)
@pytest.mark.parametrize("names", [["x"], ["x", "run"]], ids="/".join)
def test_something_else_in_the_way(
    root: Path,
    make: Callable[[Path], None],
    names: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(root)  # a socket's path is short
    make(Path("x"))
    refused = refusal(Roots([root]), *names)  # must not wait for a writer of the FIFO
    assert refused.reason == pb.NOT_A_DIRECTORY
    assert str(root / "x") in str(refused)


def test_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert refusal(Roots([tmp_path / "file"]), "x").reason == pb.NOT_A_DIRECTORY


@pytest.mark.parametrize(
    "names",
    [
        [""],
        ["a\0b"],
        ["a", "b\0"],
        ["n" * (MAX_NAME_BYTES + 1)],
        ["ß" * 128],
        ["a", "n" * 300],
        ["/".join(["n" * 200] * 21)],
        ["a", "/b"],
        ["lone \ud800 surrogate"],
    ],
    ids=range(9),
)
def test_names_that_cannot_be(roots: Roots, root: Path, names: list[str]) -> None:
    refused = refusal(roots, *names)
    assert refused.reason == pb.INVALID_NAME
    assert len(str(refused)) < 300
    assert list(root.iterdir()) == []


@contextlib.contextmanager
def as_root() -> Iterator[None]:
    """Lifts what ``as_nobody`` does, if it did anything."""
    user = os.geteuid()
    if os.getuid() == 0:
        os.seteuid(0)
    try:
        yield
    finally:
        if os.getuid() == 0:
            os.seteuid(user)


@pytest.fixture
def as_nobody(tmp_path: Path) -> Iterator[Path]:
    """A directory nobody may write, seen by a user whom permissions bind."""
    # Not in tmp_path: its parents are closed to other users.
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        closed = Path(directory) / "closed"
        closed.mkdir(mode=0o555)
        if os.geteuid() != 0:
            yield closed
            return
        os.seteuid(65534)
        try:
            yield closed
        finally:
            os.seteuid(0)


def test_directory_without_permission(as_nobody: Path) -> None:
    roots = Roots([as_nobody])
    for names in (["new"], ["."]):
        refused = refusal(roots, *names)
        assert refused.reason == pb.UNWRITABLE
        assert str(as_nobody) in str(refused)
        assert os.strerror(errno.EACCES) in str(refused)


def test_directory_that_even_the_superuser_cannot_make() -> None:
    refused = refusal(Roots(["/proc"]), "boardd")
    assert refused.reason == pb.UNWRITABLE
    assert "/proc/boardd" in str(refused)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    with contextlib.ExitStack() as mounts:
        yield lambda options: mounts.enter_context(tmpfs(tmp_path / "mount", options))


def test_read_only_filesystem(mounted: Callable[..., Path]) -> None:
    path = mounted("ro,size=64k")
    for names in (["x"], ["."]):
        refused = refusal(Roots([path]), *names)
        assert refused.reason == pb.UNWRITABLE
        assert os.strerror(errno.EROFS) in str(refused)


def test_full_disk_is_no_refusal(mounted: Callable[..., Path]) -> None:
    path = mounted("size=64k,nr_inodes=2")
    roots = Roots([path])
    with roots.open_run("x"):
        pass
    before = open_descriptors()
    with pytest.raises(DiskFullError) as caught:
        roots.open_run("y")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path / "y")
    assert open_descriptors() == before
    (path / "x").rmdir()
    with roots.open_run("y") as run:
        assert run.path == path / "y"


def test_run_is_locked_until_closed(roots: Roots) -> None:
    run = roots.open_run("x")
    before = open_descriptors()
    with pytest.raises(RunLockedError, match="this daemon") as caught:
        roots.open_run("x")
    assert str(run.path) in str(caught.value)
    assert open_descriptors() == before
    with roots.open_run("x", "sub"):  # a sub-run has a lock of its own
        pass
    run.close()
    run.close()
    assert run.fd == -1
    with roots.open_run("x"):
        pass


def test_run_is_locked_against_another_process(roots: Roots, root: Path) -> None:
    script = (
        "import sys\n"
        "from boardd.runs.directories.logdir import Roots\n"
        "from boardd.runs.directories.run_lock import RunLockedError\n"
        "try:\n"
        "    Roots([sys.argv[1]]).open_run('x')\n"
        "except RunLockedError as error:\n"
        "    print(error)\n"
    )
    command = [sys.executable, "-c", script, str(root)]
    with roots.open_run("x"):
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert f"another daemon (pid {os.getpid()})" in done.stdout
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == ""


def test_closing_leaves_no_descriptor(roots: Roots) -> None:
    before = open_descriptors()
    with roots.open_run("a/b/c") as run:
        run.sync()
    with roots.open_run("d/e"):  # never synced
        pass
    assert open_descriptors() == before


def test_is_current(roots: Roots, root: Path) -> None:
    with roots.open_run("x") as run:
        assert run.is_current()
        (root / "x").rename(root / "y")
        assert not run.is_current()
        (root / "x").mkdir()
        assert not run.is_current()


def test_a_run_holds_one_descriptor(roots: Roots) -> None:
    before = open_descriptors()
    with roots.open_run("a/b/c"):
        assert len(open_descriptors() - before) == 1


def test_a_directory_that_its_server_forgot_is_not_current(
    roots: Roots, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*arguments: object, **options: object) -> os.stat_result:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    with roots.open_run("x") as run, monkeypatch.context() as patched:
        patched.setattr(os, "fstat", stale)
        assert not run.is_current()


def test_a_directory_that_cannot_be_asked_for_is_not_taken_for_removed(
    as_nobody: Path,
) -> None:
    parent = as_nobody.parent / "parent"
    with as_root():
        parent.mkdir()
        os.chown(parent, 65534, 65534)
    with Roots([parent]).open_run("run") as run:
        parent.chmod(0)
        with pytest.raises(PermissionError):
            run.is_current()
        parent.chmod(0o700)
        assert run.is_current()


def test_directories_above_the_run_need_only_be_searched(as_nobody: Path) -> None:
    home = as_nobody.parent / "home"
    with as_root():
        (home / "logs").mkdir(parents=True)
        os.chown(home / "logs", 65534, 65534)
        home.chmod(0o711)
    with Roots(["/"]).open_run(str(home / "logs"), "run") as run:
        assert where(run.fd) == home / "logs" / "run"
        run.sync()


def test_an_entry_in_a_directory_that_cannot_be_read_is_synced(as_nobody: Path) -> None:
    drop_box = as_nobody.parent / "drop box"
    with as_root():
        drop_box.mkdir()
        os.chown(drop_box, 65534, 65534)
    drop_box.chmod(0o300)
    with Roots([drop_box]).open_run("run") as run:
        run.sync()
        assert where(run.fd) == drop_box / "run"


@pytest.mark.parametrize("of_process", [0, 0o022, 0o077])
def test_a_run_says_which_bits_its_directories_lack(tmp_path: Path, of_process: int) -> None:
    roots = Roots([tmp_path / "root"], umask=0o027)
    old = os.umask(of_process)
    try:
        with roots.open_run("a/b", umask=0o002), roots.open_run("c"):
            found = {
                name: (tmp_path / "root" / name).stat().st_mode & 0o777
                for name in (".", "a", "a/b", "c")
            }
    finally:
        os.umask(old)
    assert found == {".": 0o775, "a": 0o775, "a/b": 0o775, "c": 0o750}


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_mode_follows_the_umask(roots: Roots, umask: int) -> None:
    old = os.umask(umask)
    try:
        with roots.open_run("x") as run:
            assert os.fstat(run.fd).st_mode & 0o777 == 0o777 & ~umask
    finally:
        os.umask(old)


def test_a_link_put_in_the_way_after_the_check_is_not_followed(
    roots: Roots, root: Path, tmp_path: Path
) -> None:
    # One thread keeps swapping a directory for a link that leads out while the
    # other opens runs through it: whatever is opened must lie in the root.
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "a").mkdir()
    link = tmp_path / "link"
    link.symlink_to(outside)
    stop = threading.Event()

    libc = ctypes.CDLL(None, use_errno=True)
    names = os.fsencode(root / "a"), os.fsencode(link)

    def swap() -> None:
        while not stop.is_set():
            libc.renameat2(AT_FDCWD, names[0], AT_FDCWD, names[1], RENAME_EXCHANGE)

    thread = threading.Thread(target=swap)
    thread.start()
    opened = refused = 0
    try:
        begin = time.monotonic()
        while not (opened and refused) or time.monotonic() - begin < 1.0:
            assert time.monotonic() - begin < 60.0, (opened, refused)
            try:
                with roots.open_run("a", "run") as run:
                    opened += 1
                    assert not where(run.fd).is_relative_to(outside)
            except RefusedError:
                refused += 1
    finally:
        stop.set()
        thread.join()
    assert list(outside.iterdir()) == []
