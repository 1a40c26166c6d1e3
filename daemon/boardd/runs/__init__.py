"""Run directories: reductions on worker threads, one writer for each run, the files themselves.

Rule: the only room that opens files beneath the roots. It knows no client and no session.

May import: core, events, partials, relay, summaries.
"""
