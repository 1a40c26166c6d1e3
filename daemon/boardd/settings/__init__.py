"""The service's settings: one table, read from flags, environment and file."""
