"""Sessions, order, budgets: what is due, and what may be acknowledged.

Pure: no I/O, no clock, no threads; times are passed in. The inner rooms are ``intake``,
``runs``, ``groups`` and ``session``; the modules beside them serve all four.

May import: no other room.
"""
