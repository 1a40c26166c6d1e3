"""Sessions, order, budgets: what is due, and what may be acknowledged.

Pure: no I/O, no clock, no threads. A test reads the imports to keep it so.
"""
