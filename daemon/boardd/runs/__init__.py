"""Run directories: reductions, call order, and the files that are written.

The rule: one writer for each directory, and every call that touches the file system
is made on a thread, one at a time for a run. May import ``summaries``, ``events`` and
``core``; imports neither ``sessions`` nor ``rpc``, which it tells by ``Outcomes``.
"""
