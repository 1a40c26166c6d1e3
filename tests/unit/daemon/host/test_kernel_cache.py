"""Kernels that were compiled beforehand are found where nothing can be written."""

from __future__ import annotations

from pathlib import Path

import numba
import pytest
from boardd.host.kernel_cache import KernelCacheLocator


def function() -> None:
    """Any one of a module."""


def test_the_place_of_kernels_need_not_be_writable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    assert KernelCacheLocator.from_function(function, __file__) is None
    assert list(tmp_path.iterdir()) == [], "it makes no directory"
    place = Path(KernelCacheLocator(function, __file__).get_cache_path())
    place.mkdir()
    found = KernelCacheLocator.from_function(function, __file__)
    assert found is not None
    assert found.get_cache_path() == str(place)
    assert list(place.iterdir()) == [], "it tries no file"
    monkeypatch.setattr(numba.config, "CACHE_DIR", "")
    assert KernelCacheLocator.from_function(function, __file__) is None
