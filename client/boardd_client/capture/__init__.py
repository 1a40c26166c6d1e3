"""Asynchronous capture of tensors, one module per framework."""
