"""Capture of Keras 3 variables: the module of the back end captures the value they hold."""

from __future__ import annotations

import keras

from boardd_client import capture
from boardd_client.capture import Tensor, host


def tensor(value: object, what: str) -> Tensor:
    """Returns ``value`` as a tensor; see ``boardd_client.capture.tensor``."""
    if isinstance(value, keras.Variable):
        return capture.tensor(value.value, what)
    return host.tensor(_of_host(value, what), what)


def scalar(value: object, what: str) -> float | Tensor:
    """Returns ``value``, of one element; see ``boardd_client.capture.scalar``."""
    if isinstance(value, keras.Variable):
        return capture.scalar(value.value, what)
    return host.scalar(_of_host(value, what), what)


def _of_host(value: object, what: str) -> object:
    """Returns a value that is not a variable, such as one of Keras's kinds of list."""
    if isinstance(value, keras.KerasTensor):
        raise TypeError(
            f"{what} is a KerasTensor, which has no values: log what the model returns for data"
        )
    return value
