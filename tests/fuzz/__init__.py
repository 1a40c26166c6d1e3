"""Hostile bytes: what each reader of the daemon makes of them.

``targets`` has one function for each reader, which raises for a defect alone. ``python -m
fuzz`` (with ``tests`` on the path) runs them under a coverage-guided fuzzer; ``corpus`` has
the seeds that ``seeds`` makes of real clients' bytes.
"""
