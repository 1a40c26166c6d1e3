"""Ranks that only torch knows: its process group, and the processes that it spawns."""

from __future__ import annotations

import multiprocessing
import sys
from types import ModuleType
from typing import Any

import pytest
from boardd_client import ranks

MEETING_PLACE = {"MASTER_ADDR": "host", "MASTER_PORT": "29500"}


class ProcessGroup(ModuleType):
    """What ``torch.distributed`` says in rank 2 of 4."""

    def __init__(self, *, is_initialized: bool) -> None:
        super().__init__("torch.distributed")
        self._is_initialized = is_initialized

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return self._is_initialized

    def get_rank(self) -> int:
        return 2

    def get_world_size(self) -> int:
        return 4


def test_the_process_group_counts_if_the_environment_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch.distributed", ProcessGroup(is_initialized=True))
    found = ranks.resolve(None, None, MEETING_PLACE)
    assert found == ranks.Ranks(2, 4, "torch.distributed", "host:29500 of 4")
    assert ranks.resolve(None, 4, {}).rank == 2
    assert ranks.resolve(0, 1, {})[:2] == (0, 1)
    environ = {"BOARDD_RANK": "1", "BOARDD_WORLD_SIZE": "2"}
    assert ranks.resolve(None, None, environ)[:3] == (1, 2, "boardd")


def test_a_group_that_is_not_there_yet_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.distributed", ProcessGroup(is_initialized=False))
    assert ranks.resolve(None, None, {}).source == "none"
    monkeypatch.setitem(sys.modules, "torch.distributed", ModuleType("torch.distributed"))
    assert ranks.resolve(None, None, {}).source == "none"


def test_a_spawned_process_without_a_rank_is_warned_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrap() -> None:
        """Stands for the function that torch's processes run."""

    wrap.__module__ = "torch.multiprocessing.spawn"
    monkeypatch.setattr(ranks, "_warned_spawned", [])
    process: Any = multiprocessing.current_process()
    monkeypatch.setattr(process, "_target", wrap, raising=False)
    for _ in range(2):
        ranks.resolve(None, None, {})
        ranks.resolve(0, 1, {})
    (record,) = caplog.records
    assert "pass rank= and world_size=" in record.getMessage()


def test_torchs_own_group_is_understood() -> None:
    distributed = pytest.importorskip("torch.distributed")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        assert ranks.resolve(None, None, {})[:3] == (0, 1, "torch.distributed")
    finally:
        distributed.destroy_process_group()
