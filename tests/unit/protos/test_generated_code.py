"""The generated code that is committed is what the pinned protoc makes of the .proto files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from support.environments import REPOSITORY, virtual_environment

PROTOS = REPOSITORY / "protos"
COMMITTED = ("protos", "daemon")
GENERATED = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py")


def generated_files(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): path.read_text()
        for package in COMMITTED
        for pattern in GENERATED
        for path in (root / package).rglob(pattern)
    }


@pytest.mark.slow
def test_the_committed_code_is_what_the_pinned_protoc_generates(tmp_path: Path) -> None:
    requirements = [
        line
        for line in (PROTOS / "requirements.txt").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    python = virtual_environment("protoc", requirements).python
    subprocess.run([PROTOS / "generate.sh", python, tmp_path], check=True, timeout=600)

    fresh = generated_files(tmp_path)
    committed = generated_files(REPOSITORY)
    assert sorted(committed) == sorted(fresh)
    stale = [name for name in fresh if fresh[name] != committed[name]]
    assert not stale, f"run `make protos`: {stale} differ from what the .proto files say"
    assert len(fresh) == 22
