"""The sessions of living and dead clients, their maps, and who waits for them.

Rule: the event loop's shell round ``core.session``. It performs what the core decides, and
decides nothing itself.

May import: core, runs, system.
"""
