"""Closed files of the spool, shipped to the object stores whose runs they are.

Rule: an object is put whole under a name that is its file's alone, so that putting it again
changes nothing. A file goes from this host only when its store has told its size. What is
shipped when is decided in ``plan``, which is pure; ``store`` alone talks to a store.

May import: runs.
"""
