"""Hooks that log a training loop of MXNet, PyTorch or JAX; one module per framework.

Each imports its framework, so nothing is imported here:

- ``hooks.gluon``: ``watch`` for parameters and gradients of a Block, and
  ``EstimatorHandler``;
- ``hooks.module``: callbacks for ``mx.mod.Module.fit``;
- ``hooks.torch``: ``watch`` for parameters and gradients of a module;
- ``hooks.jax``: ``log_tree`` for the leaves of a pytree.

Rule: a hook logs through the public methods of a ``SummaryWriter``. It changes no value,
gradient or random state, and waits for no device.

May import: calls, capture, writer.
"""
