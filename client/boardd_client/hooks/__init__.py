"""Hooks that log training loops; one module per framework or training library.

Each imports what it is for, so nothing is imported here:

- ``hooks.gluon``: ``watch`` for parameters and gradients of a Block, and
  ``EstimatorHandler``;
- ``hooks.module``: callbacks for ``mx.mod.Module.fit``;
- ``hooks.torch``: ``watch`` for parameters and gradients of a module;
- ``hooks.jax``: ``log_tree`` for the leaves of a pytree;
- ``hooks.lightning``, ``hooks.transformers``, ``hooks.accelerate``, ``hooks.ignite``,
  ``hooks.keras``, ``hooks.ray``: loggers and callbacks as these libraries call them, on top of
  ``hooks.report_writer``.

Rule: a hook logs through the public methods of a ``SummaryWriter``. It changes no value,
gradient or random state, and waits for no device.

May import: calls, capture, writer.
"""
