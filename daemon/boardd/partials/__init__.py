"""Values that merge: what one rank's record adds to the point that all ranks make together.

``of(a + b) == merge(of(a), of(b))``, bit for bit, under any order and any tree of merges:
nothing is rounded before a value is shown. ``partial`` has the value that stands for a
record; the other modules have what it can hold. Pure: no files, no clock, no threads, no
message of the wire between client and daemon.

May import: reduce.
"""
