"""From bytes to frames: one walk for messages and rings, and tensors out of their chunks.

Pure: it copies what a client may still write to, and does no other I/O. It imports
``core.errors`` and ``boardd_protos``.
"""
