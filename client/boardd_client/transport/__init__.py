"""How records leave the process: threads, sockets and processes.

Rule: it performs what ``session`` decides. Nothing here runs on the thread that trains, except
to wake the sender.

May import: environment, errors, memory, session.
"""
