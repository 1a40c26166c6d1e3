"""Records made into what TensorBoard shows: every kind of payload, reduced.

``summarize`` holds the one table from a kind to its function; the functions
lie in a module for each concept. Pure: they run on worker threads, and what
they make is written elsewhere.

May import: events, reduce.
"""
