"""What this machine and its processes use: counters of the operating system and of drivers.

Measured values are named by what follows ``system/`` in a tag, with their unit. Knows no
run and no session.

May import: no other room.
"""
