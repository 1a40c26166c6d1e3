"""Records made into what TensorBoard shows: every kind of payload, reduced.

``kinds`` holds the one table from a kind to its functions; those lie in a module
for each concept. Pure: they run on worker threads, and what
they make is written elsewhere.

May import: events, partials, reduce.
"""
