"""The commands of ``boardd``, one module each, and what they share: asking a daemon, showing.

Rule: a command reads its arguments, asks and shows. Who asks a running daemon does so over its
socket; what serves, merges or settles settings is done by the rooms that are called.

May import: errors, host, merge, rpc, settings.
"""
