"""The daemon as a process of its machine: start and end, socket lock, log, systemd, memory.

Rule: what depends on the operating system and not on records.

May import: errors, metrics, relay, rpc, settings, shipping, summaries.
"""
