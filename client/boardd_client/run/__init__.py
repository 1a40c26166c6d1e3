"""One writer's run in a session: its series, its records, its end.

Rule: a run appends records and says what becomes of them; it neither checks arguments nor
decides what is sent.

May import: calls, capture, memory, session, transport.
"""
