"""The memory that a client shares with its daemon: ring, arena, and the maps they lie in.

Rule: bytes and their places; no session, no socket, no thread. Only ``maps`` and ``pinning``
ask the kernel for memory; the others compute.

May import: errors.
"""
