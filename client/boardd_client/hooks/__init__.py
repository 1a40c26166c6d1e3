"""Hooks that log a training loop of MXNet, PyTorch or JAX; one module per framework.

Each imports its framework, so nothing is imported here:

- ``hooks.gluon``: ``watch`` for parameters and gradients of a Block, and
  ``EstimatorHandler``;
- ``hooks.module``: callbacks for ``mx.mod.Module.fit``;
- ``hooks.torch``: ``watch`` for parameters and gradients of a module;
- ``hooks.jax``: ``log_tree`` for the leaves of a pytree.

What they read they hand to a ``SummaryWriter``; they change no value, gradient
or random state, and wait for no device.

May import: calls, capture, writer.
"""
