"""What the ranks of one run log together: which points are done, and what is in them.

A group is changed by entries alone, which its journal keeps in the order in which they
were applied. So the entries of a journal, applied again, give the same group.

May import: no other room.
"""
