"""The boardd client."""
