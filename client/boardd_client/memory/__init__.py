"""The memory that a client shares with its daemon: ring, arena, and what they lie in.

Rule: bytes and their places; no session, no socket, no thread. Only ``log``, ``maps`` and
``pinning`` ask the kernel for memory; the others compute.

May import: errors.
"""
