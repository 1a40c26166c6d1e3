"""``log_tree`` for JAX: a histogram of each leaf of a pytree.

>>> from boardd_client.hooks.jax import log_tree
>>> log_tree(writer, "gradients", gradients, step)
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from boardd_client import capture
from boardd_client.calls import arguments
from boardd_client.hooks.watch import checked_writer
from boardd_client.writer import SummaryWriter


def log_tree(
    writer: SummaryWriter,
    tag: str,
    pytree: Any,
    step: Any,
    bins: Any = 1000,
    *,
    copy: bool = False,
) -> None:
    """Logs a histogram of each leaf, under the tag ``<tag>/<path of the leaf>``.

    Call it outside of ``jit``, with results: ``{"dense": [w, b]}`` logs
    ``<tag>/dense/0`` and ``<tag>/dense/1``. Waits for no array to be computed.

    Args:
        writer: where to log.
        tag: begins every tag, and is the tag of a pytree that is a single array.
        pytree: dicts, lists, dataclasses and other nodes with arrays or numbers as
            leaves. None is not a leaf.
        step: the step.
        bins: as of ``SummaryWriter.add_histogram``.
        copy: copy each array on its device first, so that it may be donated to a
            later call (``donate_argnums``). Without the copy, an array that is donated
            before it was read is lost, with a warning.

    Raises:
        TypeError, ValueError: not as described, or a leaf is not an array
            (the message names it). Then nothing was logged.
    """
    checked_writer(writer)
    tag = arguments.tag(tag)
    step = arguments.step(step)
    arguments.bins(bins)
    leaves, _ = jax.tree_util.tree_flatten_with_path(pytree)
    named = [("/".join((tag, *map(_name, path))), leaf) for path, leaf in leaves]
    for name, leaf in named:
        arguments.tag(name)
        capture.tensor(leaf, name)
    if copy:
        named = [(name, _copied(leaf)) for name, leaf in named]
    values = dict(named)
    if len(values) == len(named):
        writer.add_histograms(values, step, bins=bins)
        return
    for name, leaf in named:  # several leaves have one name, and each is logged
        writer.add_histogram(name, leaf, step, bins=bins)


def _copied(leaf: Any) -> Any:
    return jnp.array(leaf, copy=True) if isinstance(leaf, jax.Array) else leaf


def _name(key: Any) -> str:
    """A step of a path by what it is called: a dict's key, an index, an attribute's name."""
    for attribute in ("key", "idx", "name"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    return str(key)
