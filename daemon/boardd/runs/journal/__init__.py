"""The journal of a group: segments of entries, written before anything is told, read again.

Rule: it keeps entries and gives them back in order. What they mean is decided in ``core.groups``.

May import: directories, event_files.
"""
