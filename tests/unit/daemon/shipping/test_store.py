"""What talks to object stores, and what is said where it cannot."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from boardd.shipping.store import FsspecStore, missing_package, missing_packages, obstacle
from boardd_protos import remote_logdir


def test_an_object_is_put_whole_and_its_size_is_the_stores(tmp_path: Path) -> None:
    store = FsspecStore("memory://test-store-bucket")
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    with pytest.raises(FileNotFoundError):
        store.size_bytes("runs/a")
    store.put(file, "runs/a")
    store.put(file, "runs/a")
    assert store.size_bytes("runs/a") == 5
    assert FsspecStore("memory://test-store-bucket").size_bytes("runs/a") == 5


def test_a_scheme_that_cannot_be_written_to_is_told_with_its_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert obstacle("memory") == ""
    assert "no store that fsspec knows" in obstacle("nowhere")
    obstacle.cache_clear()
    monkeypatch.setitem(sys.modules, "adlfs", None)
    assert "pip install adlfs" in obstacle("abfs")


def test_what_is_missing_is_known_without_an_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", {"s3fs": True}.get)
    found = missing_packages()
    assert "s3" not in found
    assert "pip install gcsfs" in found["gs"]
    assert found.keys() <= remote_logdir.STORES


def test_an_environment_without_fsspec_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    obstacle.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert "pip install 'boardd[remote]'" in missing_package()
    assert obstacle("s3") == missing_package()
    obstacle.cache_clear()
