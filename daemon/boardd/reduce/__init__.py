"""Reductions: pure functions from arrays to mergeable statistics or pixels."""
