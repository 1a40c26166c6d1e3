"""The writers of PyTorch and tensorboardX, call by call, on top of boardd's own.

Rule: a call gives its arguments other names and another order, and hands them to the writer.
What is logged, and how, is decided there.

May import: calls, capture, writer.
"""
