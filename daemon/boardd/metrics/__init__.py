"""The daemon's status in Prometheus' terms.

Rule: from a status to metric families, without I/O, clocks and threads. What is measured is
measured where it happens, and is in the status; whoever serves the metrics lies elsewhere.

May import: no other room.
"""
