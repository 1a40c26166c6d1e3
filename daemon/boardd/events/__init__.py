"""The bytes of an event file: Event messages and the records that hold them.

Pure: no files, no clock, no threads. It takes arrays and numbers, whoever computed them.

May import: no other room.
"""
