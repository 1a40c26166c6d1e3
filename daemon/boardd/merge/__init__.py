"""Event files of separate ranks in, merged event files out: what ``boardd merge`` does.

Rule: it opens its inputs to read only, and writes nowhere but beneath the output.

May import: errors, events, partials, runs, summaries.
"""
