"""Exact histograms: what the buckets are, and how values are counted fast.

May import: the modules beside histogram.
"""
