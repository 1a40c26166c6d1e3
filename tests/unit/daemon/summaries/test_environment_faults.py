"""What cannot be loaded is told from what a disk or a record is to blame for."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from boardd.summaries.environment_faults import is_environment_fault
from boardd.summaries.reduction import SummaryError
from boardd.summaries.summarize import Refusing


def load_module() -> None:
    importlib.import_module("boardd.reduce.there_is_none")


def load_library() -> None:
    ctypes.CDLL("/there/is/no/library.so")


def read_file() -> None:
    Path("/there/is/no/file").read_bytes()


def fail() -> None:
    raise OSError("encoder error")


@pytest.mark.parametrize(
    ("act", "is_fault"),
    [(load_module, True), (load_library, True), (read_file, False), (fail, False)],
)
def test_only_what_cannot_be_loaded_is_the_environments(
    act: Callable[[], None], is_fault: bool
) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        act()
    assert is_environment_fault(caught.value) is is_fault
    # Nor does a reduction refuse its record for it.
    with pytest.raises(type(caught.value) if is_fault else SummaryError), Refusing("tag"):
        act()


def test_a_module_whose_source_has_vanished_is_the_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vanishing.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    spec = importlib.util.find_spec("vanishing")
    assert spec is not None
    assert spec.loader is not None
    (tmp_path / "vanishing.py").unlink()
    with pytest.raises(OSError) as caught:  # noqa: PT011
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert is_environment_fault(caught.value)
    assert "vanishing" not in sys.modules
