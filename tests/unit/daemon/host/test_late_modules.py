"""Modules are loaded while sessions live, whose memory is collected all the same."""

from __future__ import annotations

import gc
import logging
import sys
import weakref
from pathlib import Path

import pytest
from boardd.host import late_modules


class _Loop:
    """Keeps itself, as what a run's task and its error keep."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(tmp_path)
    name = "module_of_a_late_kind"
    (tmp_path / f"{name}.py").write_text("CONTENT = [object() for _ in range(10)]\n")
    monkeypatch.delitem(sys.modules, name, raising=False)
    return name


def test_what_is_in_a_cycle_while_a_module_is_loaded_is_collected_later(module: str) -> None:
    loop = _Loop()
    gone = weakref.ref(loop)
    frozen = gc.get_freeze_count()
    late_modules.load(module)
    assert module in sys.modules
    assert gc.get_freeze_count() <= frozen
    del loop
    gc.collect()
    assert gone() is None


def test_a_module_that_cannot_be_loaded_is_told(
    tmp_path: Path, module: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / f"{module}.py").write_text("raise OSError('gone')\n")
    with caplog.at_level(logging.WARNING):
        late_modules.load(module)
    assert f"{module} cannot be loaded: OSError: gone" in caplog.text
