"""One client's session: its life, its records, and what of them may be acknowledged.

``lifecycle`` says what happens to a session; ``session`` turns what its client sends into
parts for runs and takes them back. Pure: no I/O, no clock, no threads. May import
``core.intake`` and ``core.runs``.
"""
