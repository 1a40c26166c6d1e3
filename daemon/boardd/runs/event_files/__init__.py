"""The files of a run: event files and their marks, side files of embeddings, recovery, syncing.

Rule: what was written is never changed. A file that cannot be trusted is left, and another begun.

May import: directories, threads.
"""
