"""Reductions: from arrays to statistics or to pixels.

Pure: no files, no clock, no threads, no message of the wire. The inner rooms are ``histogram``
and ``image``; the modules beside them serve both.

May import: no other room.
"""
