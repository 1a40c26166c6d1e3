"""Threads for calls to the file system, bounded in number, of which some may hang.

Rule: it knows no file. What is called comes from the other rooms. Owners take turns.

May import: no other room.
"""
