"""Merged runs: what ranks contribute goes into a journal, and what the group decides into files.

Rule: decisions are those of ``core.groups``; this room performs them. The journal comes first,
an answer second, the merged files last.

May import: directories, event_files, journal, writing.
"""
