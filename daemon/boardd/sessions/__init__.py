"""The event loop around ``core.session``: timers, tasks, maps and streams of open sessions.

``Sessions`` tells a session's life what happened; ``Effects`` performs what it answers.
Nothing is decided here about what a session is or becomes. May import ``runs`` and
``core``; never ``rpc``.
"""
