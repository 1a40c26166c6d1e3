"""The service's settings: one table, read from flags, environment and file.

May import: core, errors.
"""
