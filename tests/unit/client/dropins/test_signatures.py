"""The drop-ins' calls have the parameters of those that they stand in for, in order, by default."""

from __future__ import annotations

import inspect

import boardd_client.tensorboardX
import boardd_client.torch
import pytest


def parameters(function: object) -> list[tuple[str, object]]:
    found = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    return [(parameter.name, parameter.default) for parameter in found]


def calls_of(writer: type) -> list[str]:
    return [
        name
        for name, value in vars(writer).items()
        if callable(value) and (not name.startswith("_") or name == "__init__")
    ]


def check(ours: type, theirs: type) -> None:
    for name in calls_of(theirs):
        assert parameters(getattr(ours, name)) == parameters(getattr(theirs, name)), name


@pytest.mark.parametrize("name", ["SummaryWriter", "GlobalSummaryWriter"])
def test_of_tensorboardx(name: str) -> None:
    tensorboardx = pytest.importorskip("tensorboardX")
    check(getattr(boardd_client.tensorboardX, name), getattr(tensorboardx, name))


def test_of_pytorch() -> None:
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    check(boardd_client.torch.SummaryWriter, tensorboard.SummaryWriter)
