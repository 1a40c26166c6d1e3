"""Defaults that are shares of the machine, or of what control groups allow."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from boardd.core.budget import Budgets
from boardd.errors import ConfigError
from boardd.settings import host_limits
from boardd.settings.config import Config
from boardd.settings.sources import Source, load, read
from boardd_protos import control_groups

MEBIBYTE = 1 << 20


@pytest.fixture
def allow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, float], None]:
    """Makes this the control group's memory in MiB and quota of processors."""
    group = tmp_path / "mounted" / "ours"
    group.mkdir(parents=True)
    (tmp_path / "own").write_text("0::/ours\n")
    monkeypatch.setattr(control_groups, "_ROOT", tmp_path / "mounted")
    monkeypatch.setattr(control_groups, "_OWN", tmp_path / "own")

    def make(memory_mib: int, quota: float) -> None:
        (group / "memory.max").write_text(f"{memory_mib * MEBIBYTE}\n")
        (group / "cpu.max").write_text(f"{int(quota * 100_000)} 100000\n")

    return make


def held_bytes(config: Config) -> int:
    return config.intake_bytes + config.reduction_bytes + config.max_definition_bytes


def test_budgets_are_half_of_what_the_control_group_allows(
    allow: Callable[[int, float], None],
) -> None:
    allow(512, 1.0)
    settings = read([], {})
    config = settings.config
    assert config.memory_bytes == held_bytes(config) == 256 * MEBIBYTE
    assert config.session_intake_bytes == config.intake_bytes // 2
    assert config.max_tensor_bytes == 128 * MEBIBYTE
    origin = settings.origins["intake_bytes"]
    assert origin == (Source.DEFAULT, "memory-bytes")


def test_a_share_that_is_asked_for_has_no_upper_bound(allow: Callable[[int, float], None]) -> None:
    allow(1000, 1.0)
    assert load(["--memory-bytes", "25.5%"], {}).memory_bytes == 248 * MEBIBYTE
    config = load(["--memory-bytes", "8GiB", "--reduction-bytes", "1MiB"], {})
    assert config.intake_bytes == 2048 * MEBIBYTE
    assert config.max_tensor_bytes == Budgets().max_tensor_bytes
    assert config.reduction_bytes == MEBIBYTE
    for text in ("0%", "101%", "63MiB", "half"):
        with pytest.raises(ConfigError, match=f"--memory-bytes: '{text}': expected"):
            load(["--memory-bytes", text], {})


def test_a_large_machine_and_a_tiny_group(allow: Callable[[int, float], None]) -> None:
    allow(10, 1.0)
    assert load([], {}).memory_bytes == 64 * MEBIBYTE
    allow(1 << 30, 1.0)
    assert load([], {}).memory_bytes <= 2048 * MEBIBYTE


@pytest.mark.parametrize(("quota", "threads"), [(0.5, 1), (3.9, 1), (6.0, 3), (64.0, 4)])
def test_threads_are_half_of_the_processors(
    quota: float,
    threads: int,
    allow: Callable[[int, float], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    allow(512, quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: set(range(8)))
    assert load([], {}).reducers == threads
    assert load(["--threads", "7"], {}).reducers == 7


def test_a_client_that_is_bound_to_a_processor_binds_no_daemon() -> None:
    everything = len(os.sched_getaffinity(0))
    bound: list[float] = []

    def look() -> None:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # of this thread alone
        bound.extend((host_limits.processors(), host_limits.processors(is_bound=False)))
        bound.append(len(os.sched_getaffinity(0)))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(60)
    assert bound[0] <= 1.0
    assert bound[1] >= min(everything, control_groups.processor_quota() or everything)
    assert bound[2] == 1


def test_where_binding_is_not_allowed_the_processors_are_those_it_is_bound_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("as in a sandbox")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    monkeypatch.setattr(os, "sched_getaffinity", lambda thread: {3, 5})
    monkeypatch.setattr(control_groups, "processor_quota", lambda: None)
    assert host_limits.processors(is_bound=False) == 2.0
