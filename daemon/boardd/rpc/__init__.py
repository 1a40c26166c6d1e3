"""The edge to clients: gRPC calls, tokens and certificates, maps that are handed over.

Rule: bytes in, bytes out. Messages are checked, passed on and answered here; what they mean is
decided in ``sessions`` and ``core``.

May import: core, errors, relay, runs, sessions.
"""
