"""Runs and series: their names, definitions, kinds, steps and limits.

May import: the modules beside runs.
"""
