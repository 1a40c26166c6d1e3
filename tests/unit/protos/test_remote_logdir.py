"""What is a URL of an object store, what is a local path, and what is neither."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from boardd_protos import logdir_paths, remote_logdir


@pytest.mark.parametrize(
    ("given", "form"),
    [
        ("s3://bucket/runs//a/./", "s3://bucket/runs/a"),
        ("S3A://bucket", "s3://bucket"),
        ("gcs://bucket/a", "gs://bucket/a"),
        ("abfs://container@account.example/a", "abfs://container@account.example/a"),
        ("runs/a", "runs/a"),
        ("/runs/s3:/a", "/runs/s3:/a"),
        ("./s3:/a", "./s3:/a"),
        ("C:", "C:"),
    ],
)
def test_a_logdir_has_one_form(given: str, form: str) -> None:
    assert remote_logdir.checked(given) == form


@pytest.mark.parametrize(
    "given",
    [
        os.fspath(Path("s3://bucket/a")),
        "s3://",
        "s3:///a",
        "s3://bucket/../a",
        "s3://../a",
        "file:///tmp/a",
        "https://host/a",
        "simplecache::s3://bucket/a",
        "runs/s3://bucket",
        "simplecache://bucket/a",
        "jupyter://host/a",
        "dir://a/b",
        "s3://a::file/x",
        "s3://bucket/a\nb",
        "s3://bucket/a\x7f",
    ],
)
def test_what_is_neither_path_nor_url_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="logdir"):
        remote_logdir.checked(given)


@pytest.mark.parametrize(
    "given",
    [
        "s3://key:s3cr3t@bucket/a",
        "s3://AKIA:s3cr3t/def@bucket/runs",
        "s3:/key:s3cr3t@bucket/a",
        "http://user:s3cr3t@host/x",
        "simplecache::s3://key:s3cr3t@bucket",
        "s3://bucket/a?X-Amz-Signature=s3cr3t",
        "s3://bucket/a#s3cr3t",
    ],
)
def test_a_secret_is_refused_and_not_repeated(given: str) -> None:
    with pytest.raises(ValueError, match="where the store's own tools look") as raised:
        remote_logdir.checked(given)
    assert "s3cr3t" not in str(raised.value)


def test_what_is_lost_with_the_daemon_is_written_to_by_who_names_it() -> None:
    assert not remote_logdir.lies_beneath("memory://bucket/a", (remote_logdir.ANY,))
    assert remote_logdir.lies_beneath("memory://bucket/a", ("memory://bucket",))


def test_a_url_lies_beneath_a_root_by_whole_names() -> None:
    roots = ("s3://bucket/runs",)
    assert remote_logdir.lies_beneath("s3://bucket/runs", roots)
    assert remote_logdir.lies_beneath("s3://bucket/runs/a", roots)
    assert not remote_logdir.lies_beneath("s3://bucket/runs2", roots)
    assert remote_logdir.lies_beneath("s3://other/a", (remote_logdir.ANY,))


def test_roots_in_a_variable_may_be_urls() -> None:
    text = "s3://bucket/runs:/srv/runs::gs://other"
    assert remote_logdir.split_roots(text) == ["s3://bucket/runs", "/srv/runs", "gs://other"]


def test_paths_are_joined_and_made_absolute_whatever_they_are(tmp_path: Path) -> None:
    assert logdir_paths.joined("s3://bucket/runs", "", "a") == "s3://bucket/runs/a"
    assert logdir_paths.joined(tmp_path, "", "a") == os.fspath(tmp_path / "a")
    assert logdir_paths.absolute("s3://bucket/a") == "s3://bucket/a"
    assert logdir_paths.absolute("a") == os.path.abspath("a")
