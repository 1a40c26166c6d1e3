"""Pixels: grids, boxes, sprites, and their PNG and GIF files.

May import: the modules beside image.
"""
