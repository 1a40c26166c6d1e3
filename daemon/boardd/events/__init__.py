"""The bytes of an event file: Event messages and the records that frame them.

Pure: no files, no clock, no threads.
"""
