"""What an operator asks of a running daemon: its status, and to stop.

Rule: a client of the daemon, over its socket; it shares no code with what serves, errors excepted.

May import: errors.
"""
