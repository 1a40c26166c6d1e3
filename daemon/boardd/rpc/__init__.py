"""Bytes in, bytes out: gRPC calls and the socket over which clients hand over their maps.

Everything runs on the event loop and only moves messages. May import ``sessions``, and
``core`` for its errors and budgets; imported by ``host`` and ``commands`` alone.
"""
