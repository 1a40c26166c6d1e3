"""One run: parts are reduced in parallel, encoded, and written in call order.

Rule: order is decided here alone. It knows neither groups nor sessions.

May import: event_files, journal.
"""
