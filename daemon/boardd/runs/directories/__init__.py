"""Run directories: opened beneath the roots, locked, made as their first writer would.

Rule: the only room that resolves a name of the user's. Everything is opened relative to a
directory that is already open, and no symlink is followed out of the roots.

May import: no other room.
"""
