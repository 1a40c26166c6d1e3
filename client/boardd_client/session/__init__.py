"""What a client has defined, logged, sent and had acknowledged.

Rule: a state machine that computes only. No I/O, no clock, no thread: times are passed in, and
what is to be done is returned.

May import: errors, memory.
"""
